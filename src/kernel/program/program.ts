import { MessageChannel } from "node:worker_threads";
import { systemClock, systemRandom } from "../clock/index.js";
import type { Clock, Random } from "../clock/types.js";
import { InputError } from "../errors/index.js";
import { createLogger } from "../log/index.js";
import type { Logger } from "../log/types.js";

/** What surrounds a program. */
export interface Program {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Resolves when the program is asked to stop (SIGTERM, SIGINT). */
  readonly stopped: Promise<void>;
}

/** Runs a program as this process, which ends with its exit code. */
export async function asProcess(run: (program: Program) => Promise<number>): Promise<void> {
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve());
  });
  const log = createLogger({ level: "info", write: (line) => process.stderr.write(line), clock: systemClock });
  const surroundings = { env: process.env, clock: systemClock, random: systemRandom, log, stopped };
  process.exitCode = await run({ args: process.argv.slice(2), ...surroundings });
  process.exit();
}

/** Holds the process while `work` is done. An `InputError` is told to `onInvalid` and on stderr, after the program's name; the exit code is then 2. */
export async function runProgram(
  name: string,
  work: () => Promise<number>,
  onInvalid?: (error: InputError) => Promise<void>,
): Promise<number> {
  // The clock's timers do not hold the process; a server that waits for something must stay.
  const alive = new MessageChannel();
  alive.port1.on("message", () => undefined);
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    await onInvalid?.(error);
    process.stderr.write(`${name}: ${error.message}\n`);
    return 2;
  } finally {
    alive.port1.close();
  }
}
