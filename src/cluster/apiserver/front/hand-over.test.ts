import { createHash } from "node:crypto";
import { once } from "node:events";
import { PassThrough } from "node:stream";
import { connect, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Random, seededRandom, systemClock } from "../../../kernel/clock/index.js";
import { createAuthority } from "../../../kernel/identity/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import type { ApiRequest, ApiResponse } from "../types.js";
import { type Listener, listen } from "./listener.js";

/** The long form: `ARGOSY_HAND_OVER=5000 npx vitest run src/cluster/apiserver/front/hand-over.test.ts`; `ARGOSY_HAND_OVER_SEED` for another run. */
const wanted = Number(process.env["ARGOSY_HAND_OVER"] ?? 100);
const seed = Number(process.env["ARGOSY_HAND_OVER_SEED"] ?? 1);

/** What a request is answered: by its body, and at a length by its path. */
function answerTo(method: string, path: string, body: Uint8Array): string {
  const sum = createHash("sha1").update(body).digest("hex");
  return `${method} ${path} ${body.byteLength} ${sum} ${".".repeat([0, 3_000, 30_000, 400_000][path.length % 4] ?? 0)}`;
}

let listener: Listener;
beforeAll(async () => {
  const authority = await createAuthority({ clock: systemClock, name: "hand-over" });
  const answer = async ({ method, path, body }: ApiRequest): Promise<ApiResponse> => {
    for (let turn = path.length % 3; turn > 0; turn--) await nextTurn();
    return { status: 200, headers: {}, body: Buffer.from(answerTo(method, path, body)) };
  };
  listener = await listen({
    ...(await authority.issueServer(["127.0.0.1"])),
    host: "127.0.0.1",
    port: 0,
    caPem: authority.caPem,
    target: {
      handle: answer,
      upgrade: async () => {
        await nextTurn();
        return { headers: { connection: "upgrade", upgrade: "echo" }, socket: new PassThrough() };
      },
    },
    clock: systemClock,
    log: silentLogger,
  });
});
afterAll(() => listener.close());

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const between = (random: Random, least: number, most: number): number => least + random.int(most - least + 1);
const oneOf = (random: Random, numbers: readonly number[]): number => numbers[random.int(numbers.length)] ?? 0;

interface Exchange {
  readonly head: Buffer;
  readonly payload: Buffer;
  readonly answer: string;
}

function inChunks(body: Buffer, random: Random): Buffer {
  const pieces: Buffer[] = [];
  const most = Math.max(oneOf(random, [20, 5_000, 100_000, 1_000_000]), body.byteLength / 1000);
  for (let at = 0; at < body.byteLength; ) {
    const piece = body.subarray(at, at + between(random, 1, Math.ceil(most)));
    pieces.push(Buffer.from(`${piece.byteLength.toString(16)}\r\n`), piece, Buffer.from("\r\n"));
    at += piece.byteLength;
  }
  return Buffer.concat([...pieces, Buffer.from("0\r\n\r\n")]);
}

/** A lane serves some of these itself. */
function exchangeAt(path: string, random: Random, isLast: boolean): Exchange {
  const body = Buffer.alloc(between(random, 0, oneOf(random, [0, 100, 10_000, 70_000, 400_000, 3_000_000])), path);
  const head = (method: string, fields: string) =>
    Buffer.from(`${method} ${path} HTTP/1.1\r\nHost: x\r\n${fields}\r\n`);
  const length = `Content-Length: ${body.byteLength}\r\n`;
  const answer = answerTo("POST", path, body);
  switch (random.int(isLast ? 7 : 6)) {
    case 0:
      return { head: head("GET", ""), payload: Buffer.alloc(0), answer: answerTo("GET", path, Buffer.alloc(0)) };
    case 1:
      return { head: head("POST", length), payload: body, answer };
    case 2:
      return { head: head("POST", `${length}Expect: 100-continue\r\n`), payload: body, answer };
    case 6: {
      const head101 = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo";
      return { head: head("GET", "Connection: Upgrade\r\nUpgrade: echo\r\n"), payload: body, answer: head101 + body };
    }
    default:
      return { head: head("POST", "Transfer-Encoding: chunked\r\n"), payload: inChunks(body, random), answer };
  }
}

/** Holds up the event loop, so that more arrives at once. */
function holdUp(ms: number): void {
  const end = systemClock.monotonicMs() + ms;
  while (systemClock.monotonicMs() < end);
}

/** Resolves at the next such event, or when the connection is over. */
async function next(socket: TLSSocket, event: "data" | "drain"): Promise<void> {
  if (socket.destroyed) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      socket.off(event, done);
      socket.off("close", done);
      resolve();
    };
    socket.on(event, done);
    socket.on("close", done);
  });
}

async function sendInPieces(socket: TLSSocket, bytes: Buffer, random: Random): Promise<void> {
  const most = Math.max(oneOf(random, [50, 3_000, 17_000, 66_000, 500_000, 5_000_000]), bytes.byteLength / 30);
  for (let at = 0; at < bytes.byteLength; ) {
    const size = between(random, 1, Math.ceil(most));
    const isTaken = socket.write(bytes.subarray(at, at + size));
    at += size;
    if (random.int(20) === 0) holdUp(random.int(6));
    if (!isTaken && random.int(2) === 0) await next(socket, "drain");
    else if (random.int(3) === 0) await nextTurn();
  }
}

/** What comes back, answer by answer; after an upgrade it is one that grows. */
function answersOn(socket: TLSSocket): string[] {
  const answers: string[] = [];
  let text = "";
  let isUpgraded = false;
  socket.on("error", (error) => answers.push(String(error)));
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
    for (;;) {
      const end = text.indexOf("\r\n\r\n");
      if (isUpgraded) {
        answers.push(`${answers.pop()}${text}`);
        text = "";
      }
      if (end < 0 || isUpgraded) return;
      const head = text.slice(0, end);
      const rest = end + 4 + Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
      if (text.length < rest) return;
      const status = head.slice(9, 12);
      if (status !== "100") answers.push(status === "200" ? text.slice(end + 4, rest) : head);
      isUpgraded = status === "101";
      text = text.slice(rest);
    }
  });
  return answers;
}

/** One connection, on which the answers are waited for or not. */
async function converse(number: number): Promise<{ got: readonly string[]; due: readonly string[] }> {
  const random = seededRandom(seed * 1_000_003 + number);
  const socket = connect({ host: "127.0.0.1", port: listener.port, rejectUnauthorized: false });
  const got = answersOn(socket);
  await once(socket, "secureConnect");
  const due: string[] = [];
  const count = 1 + random.int(6);
  for (let index = 0; index < count && !socket.destroyed; index++) {
    const isLast = index === count - 1;
    const { head, payload, answer } = exchangeAt(`/${number}/${"i".repeat(index)}`, random, isLast);
    due.push(answer);
    await sendInPieces(socket, head, random);
    if (random.int(2) === 0) await nextTurn();
    await sendInPieces(socket, payload, random);
    const isAnswered = (): boolean => got.length === due.length && (got.at(-1) ?? "").length >= answer.length;
    if (isLast || random.int(3) > 0) while (!isAnswered() && !socket.destroyed) await next(socket, "data");
  }
  socket.destroy();
  return { got, due };
}

test(
  "whatever comes, in whatever pieces, is answered, when the connection changes hands",
  async () => {
    let number = 0;
    const faults: unknown[] = [];
    const worker = async (): Promise<void> => {
      while (number < wanted && faults.length === 0) {
        const seen = number++;
        const { got, due } = await converse(seen);
        const short = (answers: readonly string[]) =>
          answers.map((answer) => `${answer.slice(0, 100)} ${answer.length}`);
        if (got.join("\n") !== due.join("\n")) faults.push({ seen, got: short(got), due: short(due) });
      }
    };
    await Promise.all(Array.from({ length: 20 }, worker));

    expect(faults).toEqual([]);
  },
  60_000 + wanted * 400,
);
