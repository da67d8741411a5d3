/** A running server with models of every datatype and of text, and ways to ask it, for tests of protocols. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect as connectHttp2 } from "node:http2";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { systemClock } from "../../kernel/clock/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { createCodec, type ProtoMessage } from "./grpc/codec.js";
import { protoFiles } from "./grpc/protos.js";
import { type ModelServer, type ModelServerOptions, runModelServer } from "./server.js";
import { protocolModels } from "./text/letters.fixture.js";

/** Starts a server on a repository of these files (default: all of `protocolModels`). `stop` ends it and removes the files. */
export async function serveProtocols(
  more: Partial<ModelServerOptions> = {},
  files: Readonly<Record<string, Uint8Array | string>> = protocolModels(),
): Promise<ModelServer & { stop(): Promise<void> }> {
  const repository = await mkdtemp(join(tmpdir(), "argosy-protocols-"));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(repository, name)), { recursive: true });
    await writeFile(join(repository, name), content);
  }
  const server = await runModelServer({
    ...{ source: { repository }, port: 0, clock: systemClock, log: silentLogger },
    ...{ drainDelayMs: 0, drainTimeoutMs: 0, ...more },
  });
  await server.loaded;
  const stop = async (): Promise<void> => {
    await server.close();
    await rm(repository, { recursive: true, force: true });
  };
  return Object.assign(server, { stop });
}

/** A JSON request and its answer. */
export async function call(
  url: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of all forms
): Promise<{ status: number; json: any; text: string; headers: Headers }> {
  const isRaw = typeof body === "string" || body instanceof Uint8Array;
  const answer = await fetch(url, {
    method: body === undefined ? "GET" : "POST",
    headers,
    ...(body === undefined ? {} : { body: isRaw ? new Uint8Array(Buffer.from(body)) : JSON.stringify(body) }),
  });
  const text = await answer.text();
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // Not every answer is JSON.
  }
  return { status: answer.status, json, text, headers: answer.headers };
}

/** The events of a stream, without their `data: `. */
export const eventsOf = (text: string): string[] =>
  text
    .split("\n\n")
    .filter((event) => event !== "")
    .map((event) => event.replace(/^data: /, ""));

const codec = createCodec(protoFiles());

/** What a call ended with. */
export interface CallEnd {
  readonly status: number;
  readonly message: string;
  readonly answers: readonly ProtoMessage[];
}

/** A method's path, and the types of its messages. */
function methodOf(name: string): { path: string; input: string; output: string } {
  for (const { services } of protoFiles())
    for (const [service, methods] of services)
      for (const method of methods)
        if (method.name === name || `${service}/${method.name}` === name)
          return { path: `/${service}/${method.name}`, input: method.input, output: method.output };
  return { path: name, input: "inference.ServerLiveRequest", output: "inference.ServerLiveResponse" };
}

/** Calls a method, through node's own client, with messages or with raw bytes of frames. */
export function callGrpc(
  port: number,
  name: string,
  messages: readonly ProtoMessage[] | Buffer,
  headers: Readonly<Record<string, string>> = {},
): Promise<CallEnd> {
  const { path, input, output } = methodOf(name);
  const frames = Buffer.isBuffer(messages)
    ? messages
    : Buffer.concat(messages.map((each) => frameOf(codec.encode(input, each))));
  return new Promise((resolve, reject) => {
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    session.on("error", reject);
    const stream = session.request({
      ...{ ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers", ...headers },
    });
    const pieces: Buffer[] = [];
    let end: Readonly<Record<string, unknown>> = {};
    const note = (fields: Readonly<Record<string, unknown>>): void => {
      if (fields["grpc-status"] !== undefined) end = fields;
    };
    stream.on("response", note);
    stream.on("trailers", note);
    stream.on("data", (chunk: Buffer) => pieces.push(chunk));
    stream.on("error", reject);
    stream.on("close", () => {
      session.close();
      const answers = messagesIn(Buffer.concat(pieces)).map((bytes) => codec.decode(output, bytes));
      const message = decodeURIComponent(textOf(end["grpc-message"]));
      resolve({ status: Number(end["grpc-status"] ?? -1), message, answers });
    });
    stream.end(frames);
  });
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

/** A message with its head. */
export function frameOf(message: Uint8Array, isCompressed = false): Buffer {
  const head = Buffer.alloc(5);
  head[0] = isCompressed ? 1 : 0;
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function messagesIn(bytes: Buffer): Buffer[] {
  const messages: Buffer[] = [];
  for (let at = 0; at + 5 <= bytes.length; at += 5 + bytes.readUInt32BE(at + 1))
    messages.push(bytes.subarray(at + 5, at + 5 + bytes.readUInt32BE(at + 1)));
  return messages;
}

/** A message's bytes. */
export const encodeProto = (type: string, message: ProtoMessage): Buffer => codec.encode(type, message);
