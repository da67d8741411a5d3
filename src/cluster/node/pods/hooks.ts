import type { Clock } from "../../../kernel/clock/index.js";
import type { Container, LifecycleHandler } from "../../../kernel/kinds/index.js";
import { type CheckResult, runCheck } from "../probes/check.js";
import type { ContainerRef, PodRuntime } from "../runtime/types.js";

/** Where a hook or probe runs. */
export interface InContainer {
  readonly runtime: PodRuntime;
  readonly clock: Clock;
  readonly container: Container;
  readonly ref: ContainerRef;
  readonly podIp: string;
}

const maxOutput = 10 * 1024;

/** Runs a command in a container; `undefined` when it took longer than allowed (it is killed then). */
export async function execInContainer(
  place: InContainer,
  command: readonly string[],
  timeoutMs: number,
): Promise<{ code: number; output: string } | undefined> {
  const session = await place.runtime.exec(place.ref, { command, tty: false, stdin: false });
  let output = "";
  const collect = (chunk: Buffer): void => {
    if (output.length < maxOutput) output += chunk.toString("utf8");
  };
  session.stdout.on("data", collect);
  session.stderr?.on("data", collect);
  const over = new AbortController();
  const limit = place.clock.sleep(timeoutMs, over.signal).then(
    () => undefined,
    () => undefined,
  );
  const first = await Promise.race([session.exited, limit]);
  over.abort();
  if (first === undefined) {
    session.kill();
    return undefined;
  }
  return { code: first, output };
}

/** Carries a postStart or preStop hook out. Never throws. */
export async function runHook(handler: LifecycleHandler, place: InContainer, timeoutMs: number): Promise<CheckResult> {
  const sleepSeconds = handler.sleep?.seconds;
  if (sleepSeconds !== undefined) {
    await place.clock.sleep(Math.min(sleepSeconds * 1000, timeoutMs));
    return { ok: true, message: "" };
  }
  const { exec, httpGet, tcpSocket } = handler;
  const action = {
    ...(exec === undefined ? {} : { exec }),
    ...(httpGet === undefined ? {} : { httpGet }),
    ...(tcpSocket === undefined ? {} : { tcpSocket }),
  };
  return runCheck(action, {
    container: place.container,
    podIp: place.podIp,
    timeoutMs,
    exec: (command, limitMs) => execInContainer(place, command, limitMs),
  });
}
