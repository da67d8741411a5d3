import { messageOf } from "../../../kernel/errors/index.js";
import type { Container, Probe } from "../../../kernel/kinds/index.js";
import { NodeError } from "../errors.js";
import { askHealth, healthFault } from "./grpc.js";
import { askHttp, type Dial, describeConnection, type HttpCheck, withinTime } from "./http.js";

const maxMessage = 1024;
type HttpGet = NonNullable<Probe["httpGet"]>;

/** What a check found; the message is for the event. */
export interface CheckResult {
  readonly ok: boolean;
  readonly message: string;
  /** It could not be asked at all: that is said, and counts neither way. */
  readonly isError?: boolean;
  /** It is good, and the owner should know something. */
  readonly isWarning?: boolean;
}

export interface CheckContext {
  readonly container: Container;
  readonly podIp: string;
  readonly timeoutMs: number;
  /** Reaches what the machine or its pods reach. */
  readonly connect: Dial;
  /** Runs a command in the container; `undefined` when it took too long. */
  exec(command: readonly string[], timeoutMs: number): Promise<{ code: number; output: string } | undefined>;
}

/** What a probe or a hook asks: one of command, HTTP request, connection, gRPC health. */
export type ProbeAction = Pick<Probe, "exec" | "httpGet" | "tcpSocket" | "grpc">;

/** Said by every request of a probe. */
const probeAgent = "kube-probe/1.34";
const fine: CheckResult = { ok: true, message: "" };

/** Carries one check out. Never throws. */
export async function runCheck(action: ProbeAction, context: CheckContext): Promise<CheckResult> {
  try {
    if (action.exec !== undefined) return await checkExec(action.exec.command ?? [], context);
    if (action.httpGet !== undefined) return await checkHttp(action.httpGet, context);
    if (action.tcpSocket !== undefined) {
      const port = portNumber(action.tcpSocket.port, context.container);
      return await checkTcp(hostOf(action.tcpSocket.host, context), port, context);
    }
    if (action.grpc !== undefined) return await checkGrpc(action.grpc, context);
    return { ok: false, message: "the probe names no action", isError: true };
  } catch (error) {
    const isError = !(error instanceof NodeError && error.code === "ProbeFailed");
    return { ok: false, message: messageOf(error), ...(isError ? { isError } : {}) };
  }
}

function hostOf(host: string | undefined, { podIp }: CheckContext): string {
  return host === undefined || host === "" ? podIp : host;
}

async function checkExec(command: readonly string[], context: CheckContext): Promise<CheckResult> {
  const result = await context.exec(command, context.timeoutMs);
  if (result === undefined)
    return {
      ok: false,
      message: `command timed out: ${JSON.stringify(command.join(" "))} timed out after ${context.timeoutMs / 1000}s`,
    };
  return { ok: result.code === 0, message: result.output.slice(0, maxMessage) };
}

/** Any answer from 200 to 399 is good; one that leads to another host is good too, and the event says so. */
async function checkHttp(get: HttpGet, context: CheckContext): Promise<CheckResult> {
  const { status, body } = await askHttp(httpCheckOf(get, context, probeAgent));
  if (status >= 200 && status < 300) return fine;
  if (status >= 300 && status < 400)
    return {
      ok: true,
      isWarning: true,
      message: `Probe terminated redirects, Response body: ${body}`.slice(0, maxMessage),
    };
  return { ok: false, message: `HTTP probe failed with statuscode: ${status}` };
}

/** The request that an `httpGet` names. Throws `ProbeError` for a port that is none. */
export function httpCheckOf(get: HttpGet, context: Omit<CheckContext, "exec">, userAgent: string): HttpCheck {
  const host = get.host === undefined || get.host === "" ? context.podIp : get.host;
  const port = portNumber(get.port, context.container);
  const scheme = (get.scheme ?? "HTTP").toLowerCase();
  const path = (get.path ?? "").startsWith("/") ? get.path : `/${get.path ?? ""}`;
  return {
    url: new URL(`${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}${path}`),
    headers: (get.httpHeaders ?? []).map(({ name, value }) => [name, value] as const),
    userAgent,
    timeoutMs: context.timeoutMs,
    connect: context.connect,
  };
}

async function checkTcp(host: string, port: number, { connect, timeoutMs }: CheckContext): Promise<CheckResult> {
  const limit = AbortSignal.timeout(timeoutMs);
  try {
    const socket = await withinTime(connect(host, port), limit);
    socket.destroy();
    return fine;
  } catch (error) {
    const isLate = limit.aborted;
    return {
      ok: false,
      message: isLate ? `dial tcp ${host}:${port}: i/o timeout` : describeConnection(error, host, port),
    };
  }
}

async function checkGrpc(grpc: NonNullable<Probe["grpc"]>, context: CheckContext): Promise<CheckResult> {
  const request = {
    host: context.podIp,
    port: grpc.port,
    service: grpc.service ?? "",
    userAgent: probeAgent,
    timeoutMs: context.timeoutMs,
    connect: context.connect,
  };
  const fault = healthFault(await askHealth(request), request);
  return fault === undefined ? fine : { ok: false, message: fault };
}

/** A port number, or the container's port of that name. Throws `ProbeError`. */
export function portNumber(port: string | number, container: Container): number {
  const number =
    typeof port === "number" || /^\d+$/.test(port)
      ? Number(port)
      : container.ports?.find((each) => each.name === port)?.containerPort;
  if (number === undefined)
    throw new NodeError("ProbeError", `container "${container.name}" has no port named "${port}"`);
  if (number < 1 || number > 65_535) throw new NodeError("ProbeError", `${number} is no port number`);
  return number;
}
