import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { seededRandom, type VirtualClock, virtualClock } from "../../kernel/clock/index.js";
import type { HttpRoute } from "../../kernel/module/types.js";
import { type BlobStore, openDirectoryBlobs } from "../../stores/blobs/index.js";
import { openSqliteRecords } from "../../stores/records/index.js";
import { createTrackingModule } from "./index.js";

/** An answer of the tracking module. */
export interface TestAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  /** The body as JSON; fails where it is none. */
  readonly json: Record<string, unknown>;
}

/** The tracking module without a network, on a folder of its own; only for tests. */
export interface TestTracking {
  readonly clock: VirtualClock;
  readonly blobs: BlobStore;
  readonly routes: readonly HttpRoute[];
  get(call: string, query?: Record<string, string | readonly string[]>): Promise<TestAnswer>;
  /** POST, or another method, with a JSON body; `call` is what comes after `/api/2.0/mlflow/`. */
  send(call: string, body?: unknown, method?: string): Promise<TestAnswer>;
  raw(
    method: string,
    target: string,
    options?: { body?: string | Uint8Array; headers?: Record<string, string> },
  ): Promise<TestAnswer>;
  /** Closes the stores and opens them again, as a restart would. */
  restart(): Promise<TestTracking>;
  readonly close: () => Promise<void>;
}

export async function startTracking(directory?: string): Promise<TestTracking> {
  const home = directory ?? (await mkdtemp(path.join(tmpdir(), "argosy-tracking-")));
  const clock = virtualClock(Date.parse("2026-01-01T00:00:00Z"));
  const records = openSqliteRecords({ file: path.join(home, "records.db"), clock });
  const random = seededRandom(directory === undefined ? 1 : 2);
  const blobs = await openDirectoryBlobs({ directory: path.join(home, "artifacts"), random });
  const module = await createTrackingModule({ records, blobs, clock, random });
  const routes = module.routes ?? [];
  const raw: TestTracking["raw"] = (method, target, options = {}) => answer(routes, { method, target, ...options });
  return {
    clock,
    blobs,
    routes,
    raw,
    get: (call, query = {}) => {
      const search = new URLSearchParams();
      for (const [key, value] of Object.entries(query)) {
        for (const one of typeof value === "string" ? [value] : value) search.append(key, one);
      }
      return raw("GET", `/api/2.0/mlflow/${call}?${search.toString()}`);
    },
    send: (call, body = {}, method = "POST") =>
      raw(method, `/api/2.0/mlflow/${call}`, {
        body: JSON.stringify(body),
        headers: { "content-type": "application/json" },
      }),
    restart: async () => {
      await records.close();
      return startTracking(home);
    },
    close: async () => {
      await records.close();
      await rm(home, { recursive: true, force: true });
    },
  };
}

interface Call {
  readonly method: string;
  readonly target: string;
  readonly body?: string | Uint8Array;
  readonly headers?: Record<string, string>;
}

async function answer(routes: readonly HttpRoute[], { method, target, body, headers = {} }: Call): Promise<TestAnswer> {
  const [rawPath = "", query = ""] = target.split("?");
  for (const route of routes) {
    const parameters = route.method === method ? match(route.path, rawPath) : undefined;
    if (parameters === undefined) continue;
    const bytes = body === undefined ? undefined : Buffer.from(body);
    const response = await route.handle({
      method,
      path: rawPath,
      parameters,
      query: new URLSearchParams(query),
      headers: { ...headers, ...(bytes === undefined ? {} : { "content-length": String(bytes.length) }) },
      user: { username: "test", groups: [] },
      body: (async function* () {
        if (bytes !== undefined) yield bytes;
      })(),
      signal: new AbortController().signal,
    });
    const text = await textOf(response.body ?? "");
    return {
      status: response.status,
      headers: response.headers ?? {},
      text,
      get json() {
        return JSON.parse(text);
      },
    };
  }
  return { status: 404, headers: {}, text: "no route", json: {} };
}

function match(pattern: string, rawPath: string): Record<string, string> | undefined {
  const source = pattern.replace(/\/:(\w+)/g, "/(?<$1>[^/]+)").replace(/\/\*(\w+)$/, "/(?<$1>.*)");
  const found = new RegExp(`^${source}$`, "s").exec(rawPath);
  return found === null
    ? undefined
    : Object.fromEntries(Object.entries(found.groups ?? {}).map(([name, value]) => [name, decodeURIComponent(value)]));
}

async function textOf(body: string | Uint8Array | AsyncIterable<Uint8Array>): Promise<string> {
  if (typeof body === "string") return body;
  const chunks: Uint8Array[] = [];
  for await (const chunk of body instanceof Uint8Array ? [body] : body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
