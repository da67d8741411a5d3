// `npm test`: the whole suite. Arguments go to vitest. Ends with the skipped tests, their reasons, and one plain line of counts.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { prepare, root } from "./prepare.mjs";

prepare();
const folder = mkdtempSync(join(tmpdir(), "argosy-test-"));
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
});
let counts = { numPassedTests: 0, numFailedTests: 0, numPendingTests: 0, numTotalTests: 0 };
try {
  counts = JSON.parse(readFileSync(report, "utf8"));
} catch {
  process.stderr.write("the test runner left no report\n");
}
rmSync(folder, { recursive: true, force: true });
process.stdout.write(
  `${counts.numPassedTests} passed, ${counts.numFailedTests} failed, ${counts.numPendingTests} skipped\n`,
);
process.exit(result.status === 0 && counts.numTotalTests === 0 ? 1 : (result.status ?? 1));
