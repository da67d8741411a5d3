// `npm run verify`: format, lint, types, boundaries, dead exports, tests; reports all failures at the end. `--skip-tests` where they just ran.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { prepare, root } from "./prepare.mjs";

prepare();
const bin = (name) => join(root, "node_modules", ".bin", name);
/** @type {[title: string, command: string, args: string[]][]} */
const checks = [
  ["format and lint", bin("biome"), ["check", "--error-on-warnings"]],
  ["typed lint", bin("oxlint"), ["--type-aware", "--deny-warnings"]],
  ["types", process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-b"]],
  ["boundaries", process.execPath, [join(root, "scripts", "boundaries.mjs")]],
  ["dead exports", bin("knip"), []],
  ["kinds reference", process.execPath, [join(root, "scripts", "kinds-reference.mjs"), "--check"]],
  ["documents", process.execPath, [join(root, "scripts", "documents.mjs")]],
];
if (!process.argv.includes("--skip-tests")) {
  checks.push(["tests", process.execPath, [join(root, "scripts", "test.mjs")]]);
}
const failed = [];
for (const [title, command, args] of checks) {
  process.stdout.write(`\n=== ${title}\n`);
  const result = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (result.status !== 0) {
    failed.push(title);
  }
}
process.stdout.write(
  failed.length === 0
    ? `\nverified: ${checks.map(([title]) => title).join(", ")}\n`
    : `\nfailed: ${failed.join(", ")}\n`,
);
process.exit(failed.length === 0 ? 0 : 1);
