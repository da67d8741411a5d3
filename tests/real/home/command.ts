import { spawn } from "node:child_process";
import { join } from "node:path";
import { runningGateway } from "../../../src/dataplane/gateway/index.js";
import { packageRoot } from "../../../src/kernel/assets/index.js";

/** The command line's program. */
export const program = join(packageRoot(), "bin", "argosy.mjs");

/** Runs the command line as a user does. Not while everything else waits: the nodes' way to their API servers leads through this process. */
export async function argosy(words: readonly string[], { input = "", limitMs = 120_000 } = {}): Promise<string> {
  const child = spawn(process.execPath, [program, ...words], { stdio: ["pipe", "pipe", "pipe"], timeout: limitMs });
  let [out, said] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  child.stdin.end(input);
  const code = await new Promise((resolve) => child.once("close", resolve));
  if (code !== 0)
    throw new Error(`argosy ${words.slice(0, 2).join(" ")} ended with ${String(code)}: ${said.slice(-800)}`);
  return out;
}

/** The gateway outlives its agent, as it should. */
export async function endGateway(directory: string): Promise<void> {
  const pid = await runningGateway(directory);
  if (pid !== undefined) process.kill(pid);
}
