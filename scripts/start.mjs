// `npm start`: installs and builds what is missing, then runs `argosy start` in this process. The first time, when there was no Node.js but the
// machine's, in a process of the one that was installed.
import { spawn } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { prepare, root } from "./prepare.mjs";

prepare();
const own = join(root, "node_modules", ".bin", "node");
if (existsSync(own) && realpathSync(own) !== realpathSync(process.execPath)) await startWith(realpathSync(own));
else {
  const { runMain } = await import(pathToFileURL(join(root, "dist", "src", "cli", "main.js")).href);
  await runMain(["start", ...process.argv.slice(2)]);
}

/** Runs this program by another Node.js and ends as it does. A terminal sends its signals to both; those of others are passed on. */
async function startWith(node) {
  const words = [...process.execArgv, fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  const child = spawn(node, words, { stdio: "inherit" });
  const passOn = (signal) => signal === "SIGTERM" || process.stdin.isTTY !== true;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => passOn(signal) && child.kill(signal));
  const [code, signal] = await new Promise((resolve) => {
    child.once("error", (error) => {
      process.stderr.write(`${node} did not start: ${error.message}\n`);
      resolve([1, null]);
    });
    child.once("exit", (...how) => resolve(how));
  });
  process.exit(code ?? 128 + (constants.signals[signal] ?? 0));
}
