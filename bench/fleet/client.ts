/** How the measurements speak to a hub and to members: requests over kept connections, and watches. */
import { Agent, get, type RequestOptions } from "node:https";
import { type Address, Connection } from "../apiserver/connection.js";

/** A request that is not answered for so long never will be. */
const answerSeconds = 120;

/** Requests over so many connections, each with one under way. */
export class Pool {
  readonly #free: Connection[];
  readonly #all: readonly Connection[];
  readonly #waiting: ((connection: Connection) => void)[] = [];

  private constructor(connections: readonly Connection[]) {
    this.#all = connections;
    this.#free = [...connections];
  }

  static async open(address: Address, size = 32): Promise<Pool> {
    return new Pool(await Promise.all(Array.from({ length: size }, () => Connection.open(address))));
  }

  /** Throws when the answer is no success. */
  async send(method: string, path: string, body: unknown = ""): Promise<string> {
    const connection = this.#free.pop() ?? (await new Promise<Connection>((resolve) => this.#waiting.push(resolve)));
    const text = typeof body === "string" ? body : JSON.stringify(body);
    const status = await within(`${method} ${path}`, answerSeconds, connection.send(method, path, text));
    const answer = connection.body.toString("utf8");
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(connection);
    else next(connection);
    if (status >= 300) throw new Error(`${method} ${path} answered ${status}: ${answer.slice(0, 500)}`);
    return answer;
  }

  /** Of an answer that came in one piece. */
  async json(path: string): Promise<unknown> {
    const text = await this.send("GET", path);
    return JSON.parse(text.slice(text.indexOf("{"), text.lastIndexOf("}") + 1));
  }

  close(): void {
    for (const connection of this.#all) connection.close();
  }
}

/**
 * Reads every event of a collection from now on, each as its line of JSON; where the server ends the watch, everything that is there comes
 * again as if it were new. Returns how to end it.
 */
export async function watch(address: Address, path: string, onEvent: (line: string) => void): Promise<() => void> {
  const pool = await Pool.open(address, 1);
  const list = await pool.send("GET", `${path}?limit=1`);
  pool.close();
  const version = /"resourceVersion":\s?"(\d+)"/.exec(list)?.[1] ?? "";
  let isEnded = false;
  let current = openWatch(address, `${path}?watch=1&timeoutSeconds=3600&resourceVersion=${version}`, onEvent);
  await current.opened;
  const goOn = async (): Promise<void> => {
    for (;;) {
      await current.closed;
      if (isEnded) return;
      await sleep(200);
      current = openWatch(address, `${path}?watch=1&timeoutSeconds=3600`, onEvent);
    }
  };
  void goOn();
  return () => {
    isEnded = true;
    current.end();
  };
}

/** The whole answer, however it is sent. */
export function readText(address: Address, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get(optionsOf(address, path), (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (piece: string) => {
        text += piece;
      });
      response.on("end", () => resolve(text));
    });
    request.once("error", reject);
  });
}

function optionsOf({ port, token, caPem }: Address, path: string): RequestOptions {
  const trust = caPem === undefined ? { rejectUnauthorized: false } : { ca: caPem };
  const headers = { authorization: `Bearer ${token}`, "user-agent": "bench" };
  const agent = new Agent({ keepAlive: false });
  return { host: "127.0.0.1", port, servername: "localhost", path, headers, agent, ...trust };
}

interface OpenWatch {
  readonly opened: Promise<void>;
  readonly closed: Promise<void>;
  end(): void;
}

function openWatch(address: Address, path: string, onEvent: (line: string) => void): OpenWatch {
  const request = get(optionsOf(address, path));
  const closed = new Promise<void>((resolve) => {
    request.once("close", resolve);
    request.once("error", () => resolve());
  });
  const opened = new Promise<void>((resolve) => {
    request.once("response", (response) => {
      let rest = "";
      response.setEncoding("utf8");
      response.on("error", () => undefined);
      response.on("data", (text: string) => {
        const lines = (rest + text).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) onEvent(line);
      });
      resolve();
    });
  });
  return { opened: Promise.race([opened, closed]), closed, end: () => request.destroy() };
}

/** Waits until something holds; throws after so many seconds. */
export async function until(what: string, seconds: number, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + seconds * 1000;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`${what}: not within ${seconds} s`);
    await sleep(20);
  }
}

/** The promise's outcome; throws when there is none within so many seconds. */
export async function within<T>(what: string, seconds: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${seconds} s`)), seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
