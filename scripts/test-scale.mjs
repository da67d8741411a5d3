// `npm run test:scale`: scenarios of whole fleets on virtual time that are too large for `npm test` (`large: true` in tests/simulation/scenarios):
// each runs in two processes with one seed, side by side, and both must come to what the scenario expects, in the same way to the last write.
//   FILE…      these scenarios instead
//   --seed N   another seed than theirs
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { prepare, root } from "./prepare.mjs";

const { values, positionals } = parseArgs({ options: { seed: { type: "string" } }, allowPositionals: true });
prepare();
const folder = join(root, "tests", "simulation", "scenarios");
const large = readdirSync(folder)
  .map((name) => join(folder, name))
  .filter((path) => /^large: true$/m.test(readFileSync(path, "utf8")));
/** Most of what a simulated fleet makes lives shortly: room for it saves a tenth of the time, and the rest is kept to what is needed. */
const memory = ["--max-semi-space-size=64", "--max-old-space-size=3072"];

/** What a run says of itself, and whether it ended well. */
function simulate(path) {
  const args = [join(root, "dist", "tests", "simulation", "main.js"), path];
  if (values.seed !== undefined) args.push("--seed", values.seed);
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...memory, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.on("data", (piece) => {
      text += piece;
    });
    child.on("close", (code) => {
      try {
        resolve({ code, ...JSON.parse(text) });
      } catch {
        resolve({ code: code || 1, faults: [text] });
      }
    });
  });
}

let failed = 0;
for (const path of positionals.length > 0 ? positionals : large) {
  const [one, other] = await Promise.all([simulate(path), simulate(path)]);
  const faults = [...(one.faults ?? []), ...(other.faults ?? [])];
  if (one.trace !== other.trace) faults.push("the same scenario with the same seed took two ways");
  const isGood = faults.length === 0 && one.code === 0 && other.code === 0;
  if (!isGood) failed += 1;
  const seconds = (ms) => Math.round(ms / 1000);
  process.stdout.write(
    `${isGood ? "✔" : "✖"} ${basename(path)}: ${one.clusters} clusters and ${one.works} works as declared ${seconds(one.convergedMs)} s after the last event, ` +
      `${seconds(one.virtualMs)} s of virtual time, ${one.memberWrites} writes to members, none repeated; ${Math.round(one.cpuSeconds)} s of CPU, ${one.maxMemoryMiB} MiB, twice the same way\n`,
  );
  for (const fault of faults) process.stdout.write(`  ${fault}\n`);
}
process.exit(failed === 0 ? 0 : 1);
