import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { seededRandom, systemClock } from "../../../kernel/clock/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { type FetchOptions, fetchModel, ModelError, runModelServerProgram } from "../index.js";
import { refuses } from "./stores.fixture.js";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

type Fault = "cut" | "refuse" | undefined;

interface Store {
  readonly objects: Map<string, Buffer>;
  readonly reads: string[];
  readonly authorizations: Set<string>;
  fault: (key: string, range: string, count: number) => Fault;
  etag: (content: Buffer) => string;
  headers: Record<string, string>;
  host: string;
  /** Listings are answered after it. */
  hold: Promise<void>;
}

const md5 = (content: Buffer): string => `"${createHash("md5").update(content).digest("hex")}"`;

/** As much of S3 as is read from: listing in pages of two, ranges, If-Match. */
async function startStore(objects: Readonly<Record<string, Buffer>>): Promise<Store> {
  const store: Store = {
    objects: new Map(Object.entries(objects)),
    reads: [],
    authorizations: new Set(),
    fault: () => undefined,
    etag: md5,
    headers: {},
    host: "",
    hold: Promise.resolve(),
  };
  const server = createServer((request, response) => refuses(request, response) || answer(store, request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(
    () => server.closeAllConnections(),
    () => server.close(),
  );
  store.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return store;
}

function answer(store: Store, request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? "/", "http://127.0.0.1");
  store.authorizations.add(request.headers.authorization?.split(",")[0] ?? "none");
  const key = decodeURIComponent(url.pathname.replace(/^\/bucket\/?/, ""));
  if (key === "") {
    void store.hold.then(() => list(store, url, response));
    return;
  }
  const range = request.headers.range ?? "";
  const fault = store.fault(key, range, store.reads.filter((read) => read === `${key} ${range}`).length);
  store.reads.push(`${key} ${range}`);
  const content = store.objects.get(key);
  if (content === undefined) return void response.writeHead(404).end("<Error><Code>NoSuchKey</Code></Error>");
  if (fault === "refuse") return void response.writeHead(503).end();
  if (request.headers["if-match"] !== store.etag(content)) return void response.writeHead(412).end();
  const [from = 0, to = 0] = (/bytes=(\d+)-(\d+)/.exec(range) ?? []).slice(1).map(Number);
  const part = content.subarray(from, to + 1);
  const length = { "content-length": part.length, "content-range": `bytes ${from}-${to}/${content.length}` };
  response.writeHead(206, { ...length, ...store.headers });
  if (fault !== "cut") return void response.end(part);
  response.write(part.subarray(0, part.length >> 1), () => response.destroy());
}

function list(store: Store, url: URL, response: ServerResponse): void {
  const prefix = url.searchParams.get("prefix") ?? "";
  const keys = [...store.objects.keys()].filter((key) => key.startsWith(prefix)).sort();
  const start = Number(url.searchParams.get("continuation-token") ?? 0);
  const page = keys.slice(start, start + 2);
  const more = start + 2 < keys.length;
  const entries = page.map((key) => {
    const content = store.objects.get(key) ?? Buffer.alloc(0);
    return `<Contents><Key>${key.replaceAll("&", "&amp;")}</Key><Size>${content.length}</Size><ETag>${store.etag(content).replaceAll('"', "&quot;")}</ETag></Contents>`;
  });
  response.end(
    `<ListBucketResult><IsTruncated>${more}</IsTruncated>${more ? `<NextContinuationToken>${start + 2}</NextContinuationToken>` : ""}${entries.join("")}</ListBucketResult>`,
  );
}

async function optionsFor(
  store: Store,
  uri = "s3://bucket/run/model/",
): Promise<FetchOptions & { readonly folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), "fetch-"));
  closers.push(() => rm(folder, { recursive: true, force: true }));
  const storageConfig = join(folder, ".s3cfg");
  await writeFile(
    storageConfig,
    `[default]\naccess_key = reader\nsecret_key = s3cret\nhost_base = ${store.host}\nuse_https = False\n`,
  );
  const clock = { ...systemClock, sleep: () => Promise.resolve() };
  return {
    folder,
    uri,
    storageConfig,
    destination: join(folder, "model"),
    cache: join(folder, "cache"),
    clock,
    random: seededRandom(1),
    log: silentLogger,
    partBytes: 1000,
    parallel: 3,
  };
}

const content = (length: number): Buffer => Buffer.from(Array.from({ length }, (_, index) => (index * 7919) % 251));

test("a folder is laid out, and a second replica reads nothing again", async () => {
  const store = await startStore({
    "run/model/model.onnx": content(4321),
    "run/model/MLmodel": content(10),
    "run/model/a & b/é.txt": content(3),
    "run/model/empty": content(0),
    "run/models": content(5),
  });
  const options = await optionsFor(store);

  await fetchModel(options);
  const reads = store.reads.length;
  await fetchModel({ ...options, destination: join(options.folder, "second") });

  expect(await readFile(join(options.destination, "model.onnx"))).toEqual(content(4321));
  expect((await readdir(join(options.folder, "second"), { recursive: true })).sort()).toEqual([
    "MLmodel",
    "a & b",
    "a & b/é.txt",
    "empty",
    "model.onnx",
  ]);
  expect(reads).toBe(5 + 1 + 1);
  expect(store.reads.length).toBe(reads);
  expect([...store.authorizations].every((value) => value.startsWith("AWS4-HMAC-SHA256 Credential=reader/"))).toBe(
    true,
  );
});

test("pods share what they download: those that want it at once read it once, later ones nothing", async () => {
  const store = await startStore({ "run/model/model.onnx": content(4321), "run/model/MLmodel": content(10) });
  const options = await optionsFor(store);
  const pod = (name: string): FetchOptions => ({
    ...options,
    destination: join(options.folder, name, "model"),
  });
  await Promise.all(["a", "b", "c"].map((name) => fetchModel(pod(name))));
  const before = store.reads.length;
  await fetchModel(pod("later"));
  const after = store.reads.length;
  store.etag = () => '"several-parts-2"';
  await fetchModel(pod("unnamed"));

  for (const name of ["a", "b", "c", "later", "unnamed"])
    expect(await readFile(join(options.folder, name, "model", "model.onnx"))).toEqual(content(4321));
  expect(before).toBe(6);
  expect(after).toBe(before);
  // Another version, as far as can be known, with the same content.
  expect(store.reads.length).toBe(after + 6);
  expect(await readdir(join(options.cache, "blobs"))).toHaveLength(2);
});

test("cut and refused reads are repeated, and only the parts that are missing", async () => {
  const store = await startStore({ "run/model/model.onnx": content(5000) });
  store.fault = (_, range, count) =>
    count > 0 ? undefined : range === "bytes=1000-1999" ? "cut" : range === "bytes=3000-3999" ? "refuse" : undefined;
  const options = await optionsFor(store);

  await fetchModel(options);

  expect(await readFile(join(options.destination, "model.onnx"))).toEqual(content(5000));
  expect(store.reads.filter((read) => read.endsWith("=0-999"))).toHaveLength(1);
  expect(store.reads.filter((read) => read.endsWith("=1000-1999"))).toHaveLength(2);
});

test("a download that was killed is taken up where it was", async () => {
  const store = await startStore({ "run/model/model.onnx": content(5000) });
  store.fault = (_, range) => (range === "bytes=4000-4999" ? "refuse" : undefined);
  const options = await optionsFor(store);
  await expect(fetchModel({ ...options, retryForMs: -1 })).rejects.toMatchObject({
    reason: "ModelDownloadFailed",
    transient: true,
  });
  const before = store.reads.length;
  store.fault = () => undefined;

  await fetchModel(options);

  expect(store.reads.slice(before)).toEqual(["run/model/model.onnx bytes=4000-4999"]);
  expect(await readFile(join(options.destination, "model.onnx"))).toEqual(content(5000));
});

test("an object that changes under way is read anew, and content that is not what was listed is refused", async () => {
  const store = await startStore({ "run/model/model.onnx": content(3000) });
  const options = await optionsFor(store);
  store.fault = (key, range) => {
    if (range === "bytes=2000-2999" && store.objects.get(key)?.length === 3000) store.objects.set(key, content(2500));
    return undefined;
  };
  await fetchModel(options);
  const changed = await readFile(join(options.destination, "model.onnx"));
  store.objects.set("run/model/model.onnx", content(100));
  store.etag = () => '"00000000000000000000000000000000"';

  const refused = fetchModel({ ...options, retryForMs: -1 });

  await expect(refused).rejects.toThrow("does not have the MD5 that the store names");
  expect(changed).toEqual(content(2500));
});

test.each([
  ["s3://bucket/none/", "holds no files"],
  ["s3://", "names no bucket"],
  ["hdfs://bucket/x", "Unsupported: hdfs://bucket/x: hdfs:// is not offered"],
  ["/does/not/exist", "ENOENT"],
])("%s is refused: %s", async (uri, words) => {
  const options = await optionsFor(await startStore({}), uri);

  const refused = fetchModel({ ...options, uri });

  await expect(refused).rejects.toThrow(words);
  await expect(refused).rejects.toBeInstanceOf(ModelError);
});

test("keys that lead out of the folder are refused", async () => {
  const options = await optionsFor(await startStore({ "run/model/../../evil": content(3) }));

  await expect(fetchModel(options)).rejects.toThrow("which is no file name");
});

test("settings name what is missing, never a secret", async () => {
  const options = await optionsFor(await startStore({}));
  await writeFile(options.storageConfig ?? "", "[default]\naccess_key = a\nsecret_key = hunter2\n");
  const missing = fetchModel(options);
  await expect(missing).rejects.toThrow("host_base is missing");
  await writeFile(
    options.storageConfig ?? "",
    "[default]\naccess_key = a\nsecret_key = hunter2\nhost_base = 127.0.0.1:1\nuse_https = False\n",
  );

  const unreachable = await fetchModel({ ...options, retryForMs: -1 }).catch((error: unknown) => String(error));

  expect(unreachable).toContain("cannot read http://127.0.0.1:1");
  expect(unreachable).not.toContain("hunter2");
});

test("the program removes a folder with what is in it, also one that is gone", async () => {
  const folder = await mkdtemp(join(tmpdir(), "fetch-"));
  closers.push(() => rm(folder, { recursive: true, force: true }));
  await mkdir(join(folder, "models", "key", "1"), { recursive: true });
  await writeFile(join(folder, "models", "key", "1", "model.onnx"), "x");
  const clear = () =>
    runModelServerProgram({
      ...{ args: ["--clear", join(folder, "models", "key")], env: { ARGOSY_TERMINATION_LOG: join(folder, "last") } },
      ...{ clock: systemClock, random: seededRandom(1), log: silentLogger, stopped: new Promise(() => {}) },
    });

  expect(await clear()).toBe(0);
  expect(await readdir(join(folder, "models"))).toEqual([]);
  expect(await clear()).toBe(0);
});

test("the program fetches into a folder, or leaves its last words", async () => {
  const store = await startStore({ "run/model/model.onnx": content(10) });
  const options = await optionsFor(store);
  const last = join(options.folder, "last-words");
  const program = (args: string[]) =>
    runModelServerProgram({
      args,
      env: { ARGOSY_TERMINATION_LOG: last, TMPDIR: options.folder },
      clock: options.clock,
      random: options.random,
      log: silentLogger,
      stopped: new Promise(() => {}),
    });

  const done = await program([
    "--model-uri",
    options.uri,
    "--storage-config",
    options.storageConfig ?? "",
    "--fetch-to",
    options.destination,
  ]);
  const failed = await program([
    "--model-uri",
    "s3://bucket/none/",
    "--storage-config",
    options.storageConfig ?? "",
    "--fetch-to",
    options.destination,
  ]);
  const wordsOfFetch = await readFile(last, "utf8");
  const broken = await program([
    "--model-name",
    "m",
    "--model-dir",
    options.destination,
    "--http",
    "0",
    "--on-failure",
    "exit",
  ]);
  const wordsOfLoad = await readFile(last, "utf8");
  const wrong = await program(["--model-name", "m"]);

  expect([done, failed, broken, wrong]).toEqual([0, 1, 1, 2]);
  expect(wordsOfFetch).toBe("ModelDownloadFailed: NotFound: s3://bucket/none/ holds no files");
  expect(wordsOfLoad).toMatch(/^ModelLoadFailed: /);
});

test("an object that the store encrypts with keys of its own has an ETag that is no MD5", async () => {
  const store = await startStore({ "run/model/model.onnx": content(2500) });
  store.etag = () => '"00000000000000000000000000000000"';
  store.headers = { "x-amz-server-side-encryption": "aws:kms" };
  const options = await optionsFor(store);

  await fetchModel(options);
  const reads = store.reads.length;
  await fetchModel({ ...options, destination: join(options.folder, "second") });

  expect(await readFile(join(options.folder, "second", "model.onnx"))).toEqual(content(2500));
  expect(store.reads).toHaveLength(reads);
});

test("while a store is asked, what it had the last time is told already; then what it has now", async () => {
  const files = { "run/model/model.onnx": Buffer.from("one"), "run/model/labels.txt": Buffer.from("a") };
  const store = await startStore(files);
  const options = await optionsFor(store);
  const before: unknown[] = [];
  await fetchModel({ ...options, onListed: (listed) => before.push(listed.map(({ name, size }) => [name, size])) });
  const first = [
    ["labels.txt", 1],
    ["model.onnx", 3],
  ];
  expect(before).toEqual([first]);

  store.objects.set("run/model/model.onnx", Buffer.from("another"));
  let wasTold: () => void = () => undefined;
  const told = new Promise<void>((resolve) => {
    wasTold = resolve;
  });
  // Answers only when somebody was told.
  store.hold = told;
  const then: unknown[] = [];
  await fetchModel({
    ...options,
    destination: join(options.folder, "again"),
    onListed: (listed) => {
      then.push(listed.map(({ name, size }) => [name, size]));
      wasTold();
    },
  });
  expect(then).toEqual([
    first,
    [
      ["labels.txt", 1],
      ["model.onnx", 7],
    ],
  ]);
  expect(await readFile(join(options.folder, "again", "model.onnx"), "utf8")).toBe("another");
});
