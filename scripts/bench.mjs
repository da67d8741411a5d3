// `npm run bench [NAME…]`: runs the benchmarks one after another on an otherwise quiet machine and keeps their JSON in bench/results/.
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { prepare, root } from "./prepare.mjs";

const benches = {
  apiserver: [],
  fleet: [],
  gateway: [],
  modelserver: [],
  "cold-start": [],
  "model-memory": [],
  "serving-controller": [],
  stores: [],
  "main-job": [],
};

prepare();
const wanted = process.argv.slice(2);
const unknown = wanted.find((name) => !(name in benches));
if (unknown !== undefined) {
  process.stderr.write(`no benchmark ${unknown}; there are ${Object.keys(benches).join(", ")}\n`);
  process.exit(2);
}
mkdirSync(join(root, "bench", "results"), { recursive: true });
let failed = false;
for (const name of wanted.length > 0 ? wanted : Object.keys(benches)) {
  process.stderr.write(`… ${name}\n`);
  const result = spawnSync(process.execPath, [join(root, "dist", "bench", `${name}.js`), ...benches[name]], {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    maxBuffer: 64 * 1024 * 1024,
  });
  if (result.status !== 0) {
    process.stderr.write(`✖ ${name} ended with ${result.status}\n`);
    failed = true;
    continue;
  }
  writeFileSync(join(root, "bench", "results", `${name}.json`), result.stdout);
  process.stderr.write(`✔ ${name}: bench/results/${name}.json\n`);
}
process.exit(failed ? 1 : 0);
