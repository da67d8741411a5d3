/**
 * Durable creates, lists and watch fan-out of the embedded API server. The server is a process of its own with a journal on
 * the disk; the client (this process) speaks HTTP/1.1 over TLS on kept connections, one request at a time on each, with a
 * bearer token that RBAC lets through. A create is a ConfigMap of about 1 KiB; its 201 comes after the fsync. Rounds of the
 * client counts take turns; figures are medians. Run: `node dist/bench/apiserver.js [--seconds 3] [--rounds 3] [--journal disk|memory]`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";
import { createApiServer } from "../src/cluster/apiserver/index.js";
import { systemClock, systemRandom } from "../src/kernel/clock/index.js";
import { createLogger } from "../src/kernel/log/index.js";

interface Address {
  readonly port: number;
  readonly token: string;
  readonly caPem: string;
  readonly pid: number;
}

interface CreateSample {
  readonly perSecond: number;
  /** User and system time of the server's process. */
  readonly serverCpuMicros: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const payload = "x".repeat(700);

async function main(): Promise<void> {
  if (process.argv.includes("--serve")) return serve(text("--serve", ""));
  const wanted = text("--journal", "");
  // "memory" shows what the request line costs without a disk.
  const journals = ["disk", "memory"].filter((journal) => wanted === "" || journal === wanted);
  const results: Record<string, unknown> = {};
  for (const journal of journals) results[journal] = await measure(journal);
  print({ bench: "apiserver", node: process.version, cpus: cpus().length, journals: results });
}

/** The server as a process of its own; its address goes to standard output as one line of JSON. */
async function serve(dataDir: string): Promise<void> {
  const log = createLogger({ clock: systemClock, level: "warn", write: (line) => process.stderr.write(`${line}\n`) });
  const server = await createApiServer({
    clusterName: "bench",
    ...(text("--journal", "") === "memory" ? {} : { dataDir }),
    clock: systemClock,
    random: systemRandom,
    log,
    serviceCidr: "198.19.0.0/24",
    tokens: [],
    authorization: "rbac",
  });
  const { url, caPem } = await server.listen({ host: "127.0.0.1", port: 0 });
  const address: Address = { port: Number(new URL(url).port), token: server.adminToken, caPem, pid: process.pid };
  process.stdout.write(`${JSON.stringify(address)}\n`);
  process.on("SIGTERM", () => void server.close().then(() => process.exit(0)));
}

async function measure(journal: string): Promise<unknown> {
  const directory = mkdtempSync(join(tmpdir(), "argosy-bench-apiserver-"));
  const { child, address } = await startServer(directory, journal);
  try {
    await createLoad(address, 16, 1); // warm-up
    const samples = new Map<number, CreateSample[]>([1, 16, 64].map((clients) => [clients, []]));
    for (let round = 0; round < number("--rounds", 3); round++) {
      for (const [clients, list] of samples) list.push(await createLoad(address, clients, number("--seconds", 3)));
    }
    const creates = Object.fromEntries([...samples].map(([clients, list]) => [`clients${clients}`, middle(list)]));
    const list10k = await listTenThousand(address);
    const watch = await watchFanOut(address, 100, 200);
    return { creates, list10k, watch };
  } finally {
    child.kill("SIGTERM");
    await new Promise((resolve) => child.once("exit", resolve));
    rmSync(directory, { recursive: true, force: true });
  }
}

function startServer(directory: string, journal: string): Promise<{ child: ChildProcess; address: Address }> {
  const nodeOptions = text("--node-options", "");
  const args = [...(nodeOptions === "" ? [] : nodeOptions.split(" ")), fileURLToPath(import.meta.url)];
  const child = spawn(process.execPath, [...args, "--serve", directory, "--journal", journal], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  return new Promise((resolve, reject) => {
    let output = "";
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    child.stdout?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      if (!output.includes("\n")) return;
      resolve({ child, address: JSON.parse(output) as Address });
    });
  });
}

/** One kept connection; a request at a time. */
class Connection {
  readonly #socket: TLSSocket;
  #chunks: Buffer[] = [];
  #size = 0;
  #wanted = 0;
  #bodyStart = 0;
  #status = 0;
  #settle: ((status: number) => void) | undefined;
  onData: ((chunk: Buffer) => void) | undefined;
  body: Buffer = Buffer.alloc(0);

  constructor(socket: TLSSocket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => (this.onData === undefined ? this.#read(chunk) : this.onData(chunk)));
    socket.on("error", (error) => {
      throw error;
    });
  }

  static open(address: Address): Promise<Connection> {
    return new Promise((resolve) => {
      const socket = connect(
        {
          host: "127.0.0.1",
          port: address.port,
          ca: address.caPem,
          servername: "localhost",
          ALPNProtocols: ["http/1.1"],
        },
        () => resolve(new Connection(socket)),
      );
    });
  }

  write(request: string): void {
    this.#socket.write(request);
  }

  send(request: string): Promise<number> {
    return new Promise((resolve) => {
      this.#settle = resolve;
      this.#socket.write(request);
    });
  }

  #read(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#wanted === 0 && !this.#readHead()) return;
    if (this.#size < this.#wanted) return;
    const all = Buffer.concat(this.#chunks);
    this.body = all.subarray(this.#bodyStart, this.#wanted);
    this.#chunks = [];
    this.#size = 0;
    this.#wanted = 0;
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.(this.#status);
  }

  #readHead(): boolean {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)];
    const [first = Buffer.alloc(0)] = this.#chunks;
    const end = first.indexOf("\r\n\r\n");
    if (end < 0) return false;
    const head = first.toString("latin1", 0, end);
    this.#status = Number(head.slice(9, 12));
    this.#bodyStart = end + 4;
    this.#wanted = end + 4 + Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
    return true;
  }

  close(): void {
    this.#socket.destroy();
  }
}

const collection = "/api/v1/namespaces/default/configmaps";
let sequence = 0;

function createRequest(address: Address, prefix: string): string {
  const name = `${prefix}-${process.pid}-${++sequence}`;
  const body = JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { payload } });
  return `POST ${collection} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${address.token}\r\nuser-agent: bench\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

function getRequest(address: Address, path: string): string {
  return `GET ${path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${address.token}\r\nuser-agent: bench\r\n\r\n`;
}

async function createLoad(address: Address, clients: number, seconds: number): Promise<CreateSample> {
  const connections = await Promise.all(Array.from({ length: clients }, () => Connection.open(address)));
  const latencies: number[] = [];
  const cpuBefore = cpuMicrosOf(address.pid);
  const start = performance.now();
  const end = start + seconds * 1000;
  await Promise.all(
    connections.map(async (connection) => {
      for (let now = performance.now(); now < end; ) {
        const status = await connection.send(createRequest(address, "load"));
        if (status !== 201) throw new Error(`a create was answered ${status}: ${connection.body.toString()}`);
        const done = performance.now();
        latencies.push(done - now);
        now = done;
      }
    }),
  );
  const elapsed = (performance.now() - start) / 1000;
  const cpu = cpuMicrosOf(address.pid) - cpuBefore;
  for (const connection of connections) connection.close();
  latencies.sort((a, b) => a - b);
  const at = (share: number): number => round(latencies[Math.floor(latencies.length * share)] ?? 0, 2);
  return {
    perSecond: Math.round(latencies.length / elapsed),
    serverCpuMicros: round(cpu / latencies.length, 0),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
  };
}

/** utime and stime of a process (proc(5)), in ticks of 10 ms. */
function cpuMicrosOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

/** A whole list and one in pages of 500, of 10,000 objects in a namespace of their own. */
async function listTenThousand(address: Address): Promise<unknown> {
  const connection = await Connection.open(address);
  const secrets = "/api/v1/namespaces/default/secrets";
  const make = async (each: Connection, count: number): Promise<void> => {
    for (let index = 0; index < count; index++) {
      await each.send(
        createRequest(address, "list")
          .replace(collection, secrets)
          .replace('"ConfigMap"', '"Secret"   ')
          .replace('"data"', '"stringData"')
          .replace(/content-length: (\d+)/, (_, length) => `content-length: ${Number(length) + 6}`),
      );
    }
  };
  const makers = await Promise.all(Array.from({ length: 20 }, () => Connection.open(address)));
  await Promise.all(makers.map((maker) => make(maker, 500)));
  for (const maker of makers) maker.close();
  const times: number[] = [];
  let bytes = 0;
  for (let round = 0; round < 5; round++) {
    const start = performance.now();
    await connection.send(getRequest(address, secrets));
    times.push(performance.now() - start);
    bytes = connection.body.length;
  }
  const start = performance.now();
  let token = "";
  let count = 0;
  do {
    await connection.send(getRequest(address, `${secrets}?limit=500${token === "" ? "" : `&continue=${token}`}`));
    const page = JSON.parse(connection.body.toString()) as { metadata: { continue?: string }; items: unknown[] };
    token = page.metadata.continue ?? "";
    count += page.items.length;
  } while (token !== "");
  const pagedMs = round(performance.now() - start, 1);
  connection.close();
  times.sort((a, b) => a - b);
  return { objects: count, bytes, wholeMs: round(times[2] ?? 0, 1), pagesOf500Ms: pagedMs };
}

/** Each create of `events` reaches `watchers` connections; deliveries per second until the last one is in. */
async function watchFanOut(address: Address, watchers: number, events: number): Promise<unknown> {
  const connections = await Promise.all(Array.from({ length: watchers }, () => Connection.open(address)));
  const query =
    "?watch=1&labelSelector=fan%3Dout&resourceVersionMatch=NotOlderThan&sendInitialEvents=true&allowWatchBookmarks=true";
  let deliveries = 0;
  let ready = 0;
  let finish: () => void = () => undefined;
  const readyAll = new Promise<void>((resolve) => {
    for (const connection of connections) {
      connection.onData = (chunk) => {
        if (chunk.includes("initial-events-end")) {
          if (++ready === watchers) resolve();
          return;
        }
        for (let at = chunk.indexOf('"type":"ADDED"'); at >= 0; at = chunk.indexOf('"type":"ADDED"', at + 1))
          deliveries++;
        if (deliveries >= watchers * events) finish();
      };
      connection.write(getRequest(address, collection + query));
    }
  });
  await readyAll;
  const allIn = new Promise<void>((resolve) => (finish = resolve));
  const writer = await Connection.open(address);
  const start = performance.now();
  for (let index = 0; index < events; index++) {
    const plain = createRequest(address, "fan");
    const labelled = plain.replace('"metadata":{', '"metadata":{"labels":{"fan":"out"},');
    const grown = labelled.length - plain.length;
    await writer.send(
      labelled.replace(/content-length: (\d+)/, (_, length) => `content-length: ${Number(length) + grown}`),
    );
  }
  await allIn;
  const seconds = (performance.now() - start) / 1000;
  for (const connection of connections) connection.close();
  writer.close();
  return { watchers, events, deliveriesPerSecond: Math.round((watchers * events) / seconds) };
}

function middle(samples: readonly CreateSample[]): CreateSample | undefined {
  return samples.toSorted((a, b) => a.perSecond - b.perSecond)[Math.floor(samples.length / 2)];
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

function text(name: string, fallback: string): string {
  const index = process.argv.indexOf(name);
  return index < 0 ? fallback : (process.argv[index + 1] ?? fallback);
}

function number(name: string, fallback: number): number {
  return Number(text(name, String(fallback)));
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

await main();
