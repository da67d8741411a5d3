// Writes the table of docs/pods.md from the node's rules; the node's tests fail when it is not up to date.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { prepare, root } from "./prepare.mjs";

prepare();
const { renderFieldTable } = await import(
  join(root, "dist", "src", "cluster", "node", "pods", "fields", "document.js")
);
const file = join(root, "docs", "pods.md");
const begin = "<!-- made by `node scripts/pods-reference.mjs` -->\n";
const end = "<!-- end -->\n";
const [head = "", rest = ""] = readFileSync(file, "utf8").split(begin);
const [, tail = ""] = rest.split(end);
writeFileSync(file, `${head}${begin}\n${renderFieldTable()}\n${end}${tail}`);
process.stdout.write("docs/pods.md written\n");
