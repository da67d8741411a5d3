import { ArgosyError } from "../errors/index.js";
import { PodKind } from "../kinds/index.js";
import { isObject } from "../schema/index.js";
import { failureFrom, localFailure } from "./failures.js";
import { objectPath, withQuery } from "./paths.js";
import type { ApiClient, Duplex } from "./types.js";
import { parseJson } from "./wire.unsafe.js";

const channel = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;

interface ContainerTarget {
  readonly namespace: string;
  readonly pod: string;
  /** Default: the pod's only container (or its default one). */
  readonly container?: string;
  readonly signal?: AbortSignal;
}

/** A command to run in a container, or what to attach to. */
export interface ExecOptions extends ContainerTarget {
  readonly stdin?: AsyncIterable<Uint8Array>;
  readonly stdout?: (data: Uint8Array) => void;
  readonly stderr?: (data: Uint8Array) => void;
  readonly tty?: boolean;
  /** Sizes of the terminal as they change. */
  readonly sizes?: AsyncIterable<{ readonly width: number; readonly height: number }>;
}

/** How a command ended. */
export interface ExecResult {
  readonly exitCode: number;
}

function framed(on: number, data: Uint8Array): Uint8Array {
  const frame = new Uint8Array(data.byteLength + 1);
  frame[0] = on;
  frame.set(data, 1);
  return frame;
}

async function pumpInput(connection: Duplex, options: ExecOptions): Promise<void> {
  if (options.stdin === undefined) return;
  for await (const data of options.stdin) connection.send(framed(channel.stdin, data));
  // v5: closing one channel, so that the command sees the end of its input and its output still comes.
  if (connection.protocol === "v5.channel.k8s.io") connection.send(Uint8Array.of(channel.close, channel.stdin));
}

async function pumpSizes(connection: Duplex, options: ExecOptions): Promise<void> {
  for await (const { width, height } of options.sizes ?? []) {
    connection.send(framed(channel.resize, Buffer.from(JSON.stringify({ Width: width, Height: height }))));
  }
}

function readExit(data: Uint8Array): ExecResult {
  const status = parseJson(Buffer.from(data).toString("utf8"), "exec");
  if (!isObject(status)) throw localFailure(500, "the server ended the command without a status");
  if (status["status"] === "Success") return { exitCode: 0 };
  const details = status["details"];
  const causes = isObject(details) && Array.isArray(details["causes"]) ? details["causes"] : [];
  const exit = causes.find((cause) => isObject(cause) && cause["reason"] === "ExitCode");
  const exitCode = isObject(exit) ? Number(exit["message"]) : Number.NaN;
  if (status["reason"] === "NonZeroExitCode" && Number.isInteger(exitCode)) return { exitCode };
  throw failureFrom(500, JSON.stringify(status), "exec");
}

async function converse(client: ApiClient, path: string, options: ExecOptions): Promise<ExecResult> {
  const connection = await client.transport.upgrade(path, ["v5.channel.k8s.io", "v4.channel.k8s.io"], options.signal);
  const inputFailure = Promise.all([pumpInput(connection, options), pumpSizes(connection, options)]).then(
    () => undefined,
    (error: unknown) => {
      connection.close(1011);
      return error;
    },
  );
  let result: ExecResult | undefined;
  for await (const message of connection.messages) {
    const data = message.subarray(1);
    if (message[0] === channel.stdout) options.stdout?.(data);
    else if (message[0] === channel.stderr) options.stderr?.(data);
    else if (message[0] === channel.error && data.byteLength > 0) result = readExit(data);
  }
  connection.close();
  if (result !== undefined) return result;
  const failure =
    options.stdin === undefined ? undefined : await Promise.race([inputFailure, Promise.resolve(undefined)]);
  if (failure instanceof Error) throw failure;
  throw new ArgosyError("ConnectionLost", "the connection ended before the command did");
}

function containerPath(subresource: string, options: ExecOptions, command: readonly string[]): string {
  const path = withQuery(objectPath(PodKind, options.pod, options.namespace, subresource), {
    container: options.container,
    stdin: options.stdin === undefined ? undefined : true,
    stdout: true,
    stderr: options.tty === true ? undefined : true,
    tty: options.tty === true ? true : undefined,
  });
  return command.reduce((whole, word) => `${whole}&command=${encodeURIComponent(word)}`, path);
}

/** Runs a command in a container; resolves when it ended. Throws an `ApiError` when it could not be run. */
export function exec(
  client: ApiClient,
  options: ExecOptions & { readonly command: readonly string[] },
): Promise<ExecResult> {
  return converse(client, containerPath("exec", options, options.command), options);
}

/** Attaches to a container's main process; resolves when it ended. */
export function attach(client: ApiClient, options: ExecOptions): Promise<ExecResult> {
  return converse(client, containerPath("attach", options, []), options);
}

/** Which part of a container's log. */
export interface LogOptions extends ContainerTarget {
  readonly follow?: boolean;
  readonly previous?: boolean;
  readonly timestamps?: boolean;
  readonly tailLines?: number;
  readonly sinceSeconds?: number;
  readonly limitBytes?: number;
}

/** A container's log as it comes; ends with the container when followed. */
export async function* podLogs(client: ApiClient, options: LogOptions): AsyncGenerator<Uint8Array> {
  const { namespace, pod, signal, ...query } = options;
  const path = withQuery(objectPath(PodKind, pod, namespace, "log"), query);
  const response = await client.transport.request({ method: "GET", path, ...(signal === undefined ? {} : { signal }) });
  if (response.status < 400) {
    yield* response.body;
    return;
  }
  let text = "";
  for await (const chunk of response.body) text += Buffer.from(chunk).toString("utf8");
  throw failureFrom(response.status, text, `GET ${path}`);
}

/** One connection to a port of a pod. */
export interface PortForward {
  readonly data: AsyncIterable<Uint8Array>;
  write(data: Uint8Array): void;
  close(): void;
}

/** Connects to a port of a pod (v4.channel.k8s.io: data on channel 0, errors on 1, each led by the port's number). */
export async function portForward(
  client: ApiClient,
  target: { readonly namespace: string; readonly pod: string; readonly port: number; readonly signal?: AbortSignal },
): Promise<PortForward> {
  const path = withQuery(objectPath(PodKind, target.pod, target.namespace, "portforward"), { ports: target.port });
  const connection = await client.transport.upgrade(path, ["v4.channel.k8s.io"], target.signal);
  async function* read(): AsyncGenerator<Uint8Array> {
    const greeted = new Set<number>();
    for await (const message of connection.messages) {
      const on = message[0] ?? 0;
      const data = message.subarray(1);
      if (!greeted.has(on)) {
        // The first frame of each channel carries the port, in two bytes.
        greeted.add(on);
        if (data.byteLength > 2) yield data.subarray(2);
      } else if (on === 0) yield data;
      else if (data.byteLength > 0) {
        throw new ArgosyError(
          "PortForward",
          `port ${target.port} of pod ${target.namespace}/${target.pod}: ${Buffer.from(data).toString("utf8")}`,
        );
      }
    }
  }
  return { data: read(), write: (data) => connection.send(framed(0, data)), close: () => connection.close() };
}
