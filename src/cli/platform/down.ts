import { systemClock } from "../../kernel/clock/index.js";
import { isRunning } from "../../kernel/files/index.js";
import { layoutOf, runningProcess, stopRemains } from "../../platform/index.js";
import type { CliContext } from "../context.js";
import { CommandError } from "../errors.js";

export interface DownOptions {
  readonly data: string;
  readonly keepPods?: boolean;
}

const waitMs = 60_000;

/** `argosy down`: stops the process of a data directory and what it left running. */
export async function down({ terminal }: CliContext, options: DownOptions): Promise<void> {
  const layout = layoutOf(options.data);
  const running = await runningProcess(layout);
  if (running !== undefined) {
    // SIGUSR2 asks to stop and leave the pods; SIGTERM takes them along.
    process.kill(running.pid, options.keepPods === true ? "SIGUSR2" : "SIGTERM");
    const end = systemClock.monotonicMs() + waitMs;
    while (isRunning(running)) {
      if (systemClock.monotonicMs() > end) {
        throw new CommandError(
          `process ${running.pid} did not end within ${waitMs / 1000} s; see ${layout.logs}, or end it with \`kill -9 ${running.pid}\` and run this again`,
        );
      }
      await systemClock.sleep(50);
    }
  }
  const remains = options.keepPods === true ? 0 : await stopRemains(layout);
  terminal.err(
    running === undefined && remains === 0
      ? `nothing runs in ${layout.root}\n`
      : `stopped${remains > 0 ? `, with ${remains} processes that were left over` : ""}; the data stay in ${layout.root}\n`,
  );
}
