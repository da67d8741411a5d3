// Makes docs/kinds.md from the kinds' definitions; with --check, fails when the file is not up to date.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { prepare, root } from "./prepare.mjs";

prepare();
const load = (path) => import(join(root, "dist", "src", path));
const { renderKindReference } = await load("kernel/kinds/index.js");
const { ownKinds } = await load("platform/index.js");
const kinds = [...ownKinds()];
const text = [
  "# Kinds",
  "",
  "Argosy's own definitions of the kinds that it adds to the Kubernetes API; made from the code by `node scripts/kinds-reference.mjs`. A `?` marks optional fields.",
  "",
  ...kinds.sort((left, right) => left.kind.localeCompare(right.kind)).map(renderKindReference),
].join("\n");
const file = join(root, "docs", "kinds.md");
if (process.argv.includes("--check")) {
  let current = "";
  try {
    current = readFileSync(file, "utf8");
  } catch {
    // Missing: not up to date.
  }
  process.stdout.write(
    current === text
      ? `${kinds.length} kinds, docs/kinds.md is up to date\n`
      : "docs/kinds.md is not up to date: run `node scripts/kinds-reference.mjs`\n",
  );
  process.exit(current === text && kinds.length > 0 ? 0 : 1);
}
writeFileSync(file, text);
process.stdout.write(`${kinds.length} kinds written to docs/kinds.md\n`);
