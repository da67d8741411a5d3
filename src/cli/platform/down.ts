import { type Clock, systemClock } from "../../kernel/clock/index.js";
import { isRunning } from "../../kernel/files/index.js";
import { layoutOf, runningProcess, stopRemains } from "../../platform/index.js";
import type { CliContext } from "../context.js";
import { CommandError } from "../errors.js";

export interface DownOptions {
  readonly data: string;
  readonly keepPods?: boolean;
}

/** Pods get their time to end, and a busy machine takes its own: whoever waits is told, and not sent away early. */
const WAIT_MS = 600_000;
const NOTE_MS = 15_000;

/** `argosy down`: stops the process of a data directory and what it left running. */
export async function down({ terminal }: CliContext, options: DownOptions): Promise<void> {
  const layout = layoutOf(options.data);
  const running = await runningProcess(layout);
  if (running !== undefined) {
    // SIGUSR2 asks to stop and leave the pods; SIGTERM takes them along.
    process.kill(running.pid, options.keepPods === true ? "SIGUSR2" : "SIGTERM");
    const isOver = await ended(
      () => !isRunning(running),
      systemClock,
      (waitedMs) =>
        terminal.err(
          `process ${running.pid} is still ending after ${waitedMs / 1000} s; ${layout.logs} says at what\n`,
        ),
    );
    if (!isOver)
      throw new CommandError(
        `process ${running.pid} did not end within ${WAIT_MS / 1000} s; see ${layout.logs}, or end it with \`kill -9 ${running.pid}\` and run this again`,
      );
  }
  const remains = options.keepPods === true ? 0 : await stopRemains(layout);
  terminal.err(
    running === undefined && remains === 0
      ? `nothing runs in ${layout.root}\n`
      : `stopped${remains > 0 ? `, with ${remains} processes that were left over` : ""}; the data stay in ${layout.root}\n`,
  );
}

/** Waits until it is over, and says so while that takes long. False when it is not over in the end. */
export async function ended(isOver: () => boolean, clock: Clock, note: (waitedMs: number) => void): Promise<boolean> {
  const startMs = clock.monotonicMs();
  let notedMs = 0;
  while (!isOver()) {
    const waitedMs = clock.monotonicMs() - startMs;
    if (waitedMs > WAIT_MS) return false;
    if (waitedMs - notedMs >= NOTE_MS) {
      notedMs = Math.floor(waitedMs / NOTE_MS) * NOTE_MS;
      note(notedMs);
    }
    await clock.sleep(50);
  }
  return true;
}
