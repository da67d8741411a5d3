// `npm run test:clients`: programs and libraries that others wrote, against servers of ours (docs/clients.md). Installs those for Python and
// JavaScript in the user's cache first; what cannot be had is skipped, with its reason. Arguments name tests: `npm run test:clients -- serving`.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { root } from "./prepare.mjs";

const names = process.argv.slice(2);
const files = names.length === 0 ? ["tests/clients"] : names.map((name) => `tests/clients/${name}`);
const { status } = spawnSync(process.execPath, [join(root, "scripts", "test.mjs"), ...files], {
  cwd: root,
  stdio: "inherit",
  env: { ARGOSY_TEST_INSTALL: "python,javascript", ...process.env },
});
process.exitCode = status ?? 1;
