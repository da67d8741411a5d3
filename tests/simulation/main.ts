/** Runs scenarios of the fleet without machines: `node dist/tests/simulation/main.js FILE… [--seed N] [--twice]`. Says what each came to; 1 if something is not as it should be. */
import { parseArgs } from "node:util";
import { readScenarioFile } from "./scenario.js";
import { runScenario } from "./simulation.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seed: { type: "string" }, twice: { type: "boolean" } },
});
if (positionals.length === 0) {
  process.stderr.write("usage: node dist/tests/simulation/main.js FILE… [--seed N] [--twice]\n");
  process.exitCode = 2;
}
for (const file of positionals) {
  const scenario = readScenarioFile(file);
  const traces = new Set<string>();
  for (let run = 0; run < (values.twice === true ? 2 : 1); run += 1) {
    const before = process.cpuUsage();
    const report = await runScenario(scenario, values.seed === undefined ? scenario.seed : Number(values.seed));
    const { user, system } = process.cpuUsage(before);
    const cost = { cpuSeconds: (user + system) / 1e6, maxMemoryMiB: Math.round(process.resourceUsage().maxRSS / 1024) };
    process.stdout.write(`${JSON.stringify({ ...report, ...cost }, undefined, 2)}\n`);
    traces.add(report.trace);
    if (report.faults.length > 0) process.exitCode = 1;
  }
  if (traces.size > 1) {
    process.stdout.write("the same scenario with the same seed took two ways\n");
    process.exitCode = 1;
  }
}
