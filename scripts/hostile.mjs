// `node scripts/hostile.mjs [COUNT [SEED]]`: the hostile requests of tests/hostile in their long form, 100,000 unless said otherwise.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { root } from "./prepare.mjs";

const [count = "100000", seed = "1"] = process.argv.slice(2);
if (!/^[1-9]\d*$/.test(count) || !/^\d+$/.test(seed)) {
  process.stderr.write("usage: node scripts/hostile.mjs [COUNT [SEED]]: whole numbers\n");
  process.exit(2);
}
const { status } = spawnSync(process.execPath, [join(root, "scripts", "test.mjs"), "tests/hostile.test.ts"], {
  cwd: root,
  stdio: "inherit",
  env: { ...process.env, ARGOSY_HOSTILE: count, ARGOSY_HOSTILE_SEED: seed },
});
process.exit(status ?? 1);
