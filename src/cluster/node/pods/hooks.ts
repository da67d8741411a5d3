import type { Clock } from "../../../kernel/clock/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import type { Container, LifecycleHandler } from "../../../kernel/kinds/index.js";
import { type CheckResult, httpCheckOf, runCheck } from "../probes/check.js";
import { askHttp } from "../probes/http.js";
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
  const { exec, httpGet } = handler;
  if (httpGet !== undefined) return httpHook(httpGet, place, timeoutMs);
  if (exec === undefined)
    return { ok: false, message: "Cannot run handler: a connection is no hook; use exec, httpGet or sleep" };
  return runCheck(
    { exec },
    {
      container: place.container,
      podIp: place.podIp,
      timeoutMs,
      connect: place.runtime.connect.bind(place.runtime),
      exec: (command, limitMs) => execInContainer(place, command, limitMs),
    },
  );
}

type HttpGet = NonNullable<LifecycleHandler["httpGet"]>;

/** Any answer will do, as with kubelet: a hook asks, it does not judge. */
async function httpHook(
  get: HttpGet,
  { container, podIp, runtime }: InContainer,
  timeoutMs: number,
): Promise<CheckResult> {
  try {
    const connect = runtime.connect.bind(runtime);
    await askHttp(httpCheckOf(get, { container, podIp, timeoutMs, connect }, "kube-lifecycle/1.34"));
    return { ok: true, message: "" };
  } catch (error) {
    return { ok: false, message: messageOf(error) };
  }
}
