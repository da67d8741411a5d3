// Keeps the documents true: every floor and every room of src is named in ARCHITECTURE.md, every relative link leads somewhere.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { root } from "./prepare.mjs";

const faults = [];
const roomed = ["kernel", "stores", "cluster", "dataplane", "modules", "faces"];
const architecture = readFileSync(join(root, "ARCHITECTURE.md"), "utf8");
for (const floor of readdirSync(join(root, "src"))) {
  if (!architecture.includes(`src/${floor}`)) {
    faults.push(`ARCHITECTURE.md does not name src/${floor}`);
  }
  const row = architecture.split("\n").find((line) => line.startsWith(`| \`src/${floor}\` |`)) ?? "";
  for (const room of roomed.includes(floor) ? readdirSync(join(root, "src", floor)) : []) {
    if (!row.includes(`\`${room}\``)) {
      faults.push(`ARCHITECTURE.md does not name the room ${room} in the row of src/${floor}`);
    }
  }
}

function documents(folder) {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    if (["node_modules", "dist", ".git", ".cache", ".argosy"].includes(name)) return [];
    return statSync(path).isDirectory() ? documents(path) : name.endsWith(".md") ? [path] : [];
  });
}

let links = 0;
for (const file of documents(root)) {
  for (const [, target] of readFileSync(file, "utf8")
    .replaceAll(/`[^`\n]*`/g, "")
    .matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
    if (/^[a-z]+:/.test(target)) continue;
    links += 1;
    if (!existsSync(join(dirname(file), target))) {
      faults.push(`${relative(root, file)}: the link to ${target} leads nowhere`);
    }
  }
}
process.stdout.write(`${faults.map((fault) => `${fault}\n`).join("")}${links} links, ${faults.length} faults\n`);
process.exit(faults.length > 0 || links === 0 ? 1 : 0);
