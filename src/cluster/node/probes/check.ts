import { request as httpRequest } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { request as httpsRequest } from "node:https";
import { connect } from "node:net";
import { messageOf } from "../../../kernel/errors/index.js";
import type { Container, Probe } from "../../../kernel/kinds/index.js";
import { NodeError } from "../errors.js";

/** What a check found; the message is for the event. */
export interface CheckResult {
  readonly ok: boolean;
  readonly message: string;
}

export interface CheckContext {
  readonly container: Container;
  readonly podIp: string;
  readonly timeoutMs: number;
  /** Runs a command in the container; `undefined` when it took too long. */
  exec(command: readonly string[], timeoutMs: number): Promise<{ code: number; output: string } | undefined>;
}

/** What a probe or a hook asks: one of command, HTTP request, connection, gRPC health. */
export type ProbeAction = Pick<Probe, "exec" | "httpGet" | "tcpSocket" | "grpc">;

/** Carries one check out. Never throws. */
export async function runCheck(action: ProbeAction, context: CheckContext): Promise<CheckResult> {
  try {
    if (action.exec !== undefined) return await checkExec(action.exec.command ?? [], context);
    if (action.httpGet !== undefined) return await checkHttp(action.httpGet, context);
    if (action.tcpSocket !== undefined) {
      const port = portNumber(action.tcpSocket.port, context.container);
      return await checkTcp(action.tcpSocket.host ?? context.podIp, port, context.timeoutMs);
    }
    if (action.grpc !== undefined) return await checkGrpc(action.grpc, context);
    return { ok: false, message: "the probe names no action" };
  } catch (error) {
    return { ok: false, message: messageOf(error) };
  }
}

async function checkExec(command: readonly string[], context: CheckContext): Promise<CheckResult> {
  const result = await context.exec(command, context.timeoutMs);
  if (result === undefined)
    return {
      ok: false,
      message: `command timed out: ${JSON.stringify(command.join(" "))} timed out after ${context.timeoutMs / 1000}s`,
    };
  return { ok: result.code === 0, message: result.output.slice(0, 1024) };
}

type HttpGet = NonNullable<Probe["httpGet"]>;

/** Any answer from 200 to 399 is good; certificates are not checked, as kubelet does. */
function checkHttp(get: HttpGet, context: CheckContext): Promise<CheckResult> {
  const isTls = (get.scheme ?? "HTTP").toUpperCase() === "HTTPS";
  const port = portNumber(get.port, context.container);
  const host = get.host === undefined || get.host === "" ? context.podIp : get.host;
  const path = get.path === undefined || get.path === "" ? "/" : get.path.startsWith("/") ? get.path : `/${get.path}`;
  const url = `${isTls ? "https" : "http"}://${host}:${port}${path}`;
  const headers: Record<string, string> = { "user-agent": "kube-probe/1.34", accept: "*/*", connection: "close" };
  for (const header of get.httpHeaders ?? []) headers[header.name.toLowerCase()] = header.value;
  return new Promise((resolve) => {
    const options = { host, port, path, headers, agent: false, rejectUnauthorized: false, timeout: context.timeoutMs };
    const request = (isTls ? httpsRequest : httpRequest)(options, (response) => {
      const status = response.statusCode ?? 0;
      response.destroy();
      const ok = status >= 200 && status < 400;
      resolve({ ok, message: ok ? "" : `HTTP probe failed with statuscode: ${status}` });
    });
    const abort = AbortSignal.timeout(context.timeoutMs);
    abort.addEventListener("abort", () =>
      request.destroy(
        new NodeError("Timeout", "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
      ),
    );
    request.on("error", (error) => resolve({ ok: false, message: `Get "${url}": ${describe(error, host, port)}` }));
    request.end();
  });
}

function checkTcp(host: string, port: number, timeoutMs: number): Promise<CheckResult> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: timeoutMs });
    const end = (result: CheckResult): void => {
      socket.destroy();
      resolve(result);
    };
    socket.once("connect", () => end({ ok: true, message: "" }));
    socket.once("timeout", () => end({ ok: false, message: `dial tcp ${host}:${port}: i/o timeout` }));
    socket.once("error", (error) => end({ ok: false, message: describe(error, host, port) }));
  });
}

function describe(error: Error, host: string, port: number): string {
  const code = "code" in error ? error.code : undefined;
  if (code === "ECONNREFUSED") return `dial tcp ${host}:${port}: connect: connection refused`;
  return error.message;
}

/** grpc.health.v1.Health/Check, written by hand: one message with one text field. */
function checkGrpc(grpc: NonNullable<Probe["grpc"]>, context: CheckContext): Promise<CheckResult> {
  const service = Buffer.from(grpc.service ?? "");
  const message =
    service.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0x0a, service.length]), service]);
  const frame = Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);
  return new Promise((resolve) => {
    const session = connectHttp2(`http://${context.podIp}:${grpc.port}`);
    const end = (result: CheckResult): void => {
      session.destroy();
      resolve(result);
    };
    const abort = AbortSignal.timeout(context.timeoutMs);
    abort.addEventListener("abort", () =>
      end({
        ok: false,
        message: `timeout: failed to connect service "${context.podIp}:${grpc.port}" within ${context.timeoutMs}ms`,
      }),
    );
    session.on("error", (error) => end({ ok: false, message: describe(error, context.podIp, grpc.port) }));
    const stream = session.request({
      ":method": "POST",
      ":path": "/grpc.health.v1.Health/Check",
      "content-type": "application/grpc",
      te: "trailers",
    });
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", () => undefined);
    stream.on("end", () => {
      const answer = Buffer.concat(chunks);
      // Frame of 5 bytes, then field 1 as a varint: 1 is SERVING.
      const serving = answer.length >= 7 && answer[5] === 0x08 && answer[6] === 1;
      end({ ok: serving, message: serving ? "" : 'service unhealthy (responded with "NOT_SERVING")' });
    });
    stream.end(frame);
  });
}

/** A port number, or the container's port of that name. */
export function portNumber(port: string | number, container: Container): number {
  if (typeof port === "number") return port;
  if (/^\d+$/.test(port)) return Number(port);
  return container.ports?.find((each) => each.name === port)?.containerPort ?? 0;
}
