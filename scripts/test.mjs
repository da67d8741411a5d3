// `npm test`: the whole suite. Arguments go to vitest. Ends with the skipped tests, their reasons, what they left in the folder for temporary
// files (theirs alone, so that it can be told; a failure where it has Argosy's name), and one plain line of counts.
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { prepare, root } from "./prepare.mjs";

prepare();
const folder = mkdtempSync(join(tmpdir(), "argosy-test-"));
// As the machine's: some tests are other users.
chmodSync(folder, 0o1777);
const report = join(folder, "report.json");
const args = [
  "run",
  "--reporter=default",
  `--reporter=${join(root, "scripts", "skipped.mjs")}`,
  "--reporter=json",
  `--outputFile.json=${report}`,
  ...process.argv.slice(2),
];
const result = spawnSync(process.execPath, [join(root, "node_modules", "vitest", "vitest.mjs"), ...args], {
  cwd: root,
  stdio: "inherit",
  env: { ...process.env, TMPDIR: folder },
});
let counts = { numPassedTests: 0, numFailedTests: 0, numPendingTests: 0, numTotalTests: 0 };
try {
  counts = JSON.parse(readFileSync(report, "utf8"));
} catch {
  process.stderr.write("the test runner left no report\n");
}
rmSync(report, { force: true });
const left = readdirSync(folder);
if (left.length === 0) rmdirSync(folder);
else process.stdout.write(`${left.length} left in ${folder}: ${left.join(", ")}\n`);
process.stdout.write(
  `${counts.numPassedTests} passed, ${counts.numFailedTests} failed, ${counts.numPendingTests} skipped\n`,
);
const isOurs = left.some((name) => name.includes("argosy"));
const isGreen = result.status === 0 && counts.numTotalTests > 0 && !isOurs;
process.exit(isGreen ? 0 : result.status || 1);
