/** What is measured of a server. All figures are of one round; the caller takes medians. */
import { Worker } from "node:worker_threads";
import { type Address, Connection } from "./connection.js";
import type { Running } from "./servers.js";

const payload = "x".repeat(700);
const collection = (namespace: string): string => `/api/v1/namespaces/${namespace}/configmaps`;
let sequence = 0;

/** A ConfigMap that takes about 1 KiB on the wire and in the store. */
function configMap(labels: Record<string, string> = {}): string {
  const name = `load-${process.pid}-${++sequence}`;
  return JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, labels }, data: { payload } });
}

export async function makeNamespace(server: Running, name: string): Promise<void> {
  const connection = await Connection.open(server.address);
  const body = JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name } });
  expectStatus(await connection.send("POST", "/api/v1/namespaces", body), 201, connection);
  connection.close();
}

/** Durable creates for some seconds by so many clients, each with one request under way. */
export async function creates(
  server: Running,
  clients: number,
  seconds: number,
): Promise<{ perSecond: number; cpuMicros: number; p50Ms: number; p99Ms: number }> {
  const latencies: number[] = [];
  const connections = await openAll(server.address, clients);
  const cpu = server.cpuMicros();
  const start = performance.now();
  await Promise.all(
    connections.map(async (connection) => {
      for (let now = performance.now(); now < start + seconds * 1000; ) {
        expectStatus(await connection.send("POST", collection("default"), configMap()), 201, connection);
        const done = performance.now();
        latencies.push(done - now);
        now = done;
      }
    }),
  );
  const elapsed = (performance.now() - start) / 1000;
  const used = server.cpuMicros() - cpu;
  closeAll(connections);
  return {
    perSecond: Math.round(latencies.length / elapsed),
    cpuMicros: round(used / latencies.length, 0),
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
  };
}

/** Makes objects until the namespace holds `count` of them more. */
export async function fill(server: Running, namespace: string, count: number): Promise<void> {
  const connections = await openAll(server.address, 32);
  let left = count;
  await Promise.all(
    connections.map(async (connection) => {
      while (left-- > 0) {
        expectStatus(await connection.send("POST", collection(namespace), configMap()), 201, connection);
      }
    }),
  );
  closeAll(connections);
}

/** The whole list of a namespace, some times over. */
export async function lists(
  server: Running,
  namespace: string,
  times: number,
): Promise<{ bytes: number; cpuMs: number; p50Ms: number }> {
  const connection = await Connection.open(server.address);
  const took: number[] = [];
  const path = collection(namespace);
  expectStatus(await connection.send("GET", path), 200, connection);
  const cpu = server.cpuMicros();
  for (let round_ = 0; round_ < times; round_++) {
    const start = performance.now();
    await connection.send("GET", path);
    took.push(performance.now() - start);
  }
  const used = server.cpuMicros() - cpu;
  const bytes = connection.body.length;
  connection.close();
  return { bytes, cpuMs: round(used / times / 1000, 1), p50Ms: quantile(took, 0.5) };
}

/**
 * Every create of `events` reaches each watcher. CPU per delivery, the creates themselves included; the delay counts from the
 * answer to a create until this process has read its event, which it does for all watchers, one after the other.
 */
export async function fanOut(
  server: Running,
  watchers: number,
  events: number,
): Promise<{ deliveriesPerSecond: number; cpuMicros: number; delayP50Ms: number; delayP99Ms: number }> {
  const namespace = "fan-out";
  await makeNamespace(server, namespace).catch(() => undefined);
  const connections = await openAll(server.address, watchers);
  const answered: number[] = [];
  const delays: number[] = [];
  let open = 0;
  let onOpen: () => void = () => undefined;
  let onAll: () => void = () => undefined;
  const allOpen = new Promise<void>((resolve) => (onOpen = resolve));
  const allIn = new Promise<void>((resolve) => (onAll = resolve));
  const writer = await Connection.open(server.address);
  expectStatus(await writer.send("GET", `${collection(namespace)}?limit=1`), 200, writer);
  const version = /"resourceVersion":"(\d+)"/.exec(writer.body.toString("latin1"))?.[1] ?? "";
  for (const connection of connections) {
    let isOpen = false;
    let seen = 0;
    connection.onData = (chunk) => {
      if (!isOpen) {
        isOpen = true;
        if (++open === watchers) onOpen();
      }
      for (let at = chunk.indexOf('"type":"ADDED"'); at >= 0; at = chunk.indexOf('"type":"ADDED"', at + 1)) {
        // An event may be here before the answer.
        const now = performance.now();
        delays.push(now - (answered[seen++] ?? now));
        if (delays.length === watchers * events) onAll();
      }
    };
    connection.start("GET", `${collection(namespace)}?watch=1&resourceVersion=${version}`);
  }
  await allOpen;
  const cpu = server.cpuMicros();
  const start = performance.now();
  for (let index = 0; index < events; index++) {
    expectStatus(await writer.send("POST", collection(namespace), configMap()), 201, writer);
    answered.push(performance.now());
  }
  await allIn;
  const elapsed = (performance.now() - start) / 1000;
  const used = server.cpuMicros() - cpu;
  closeAll([...connections, writer]);
  return {
    deliveriesPerSecond: Math.round((watchers * events) / elapsed),
    cpuMicros: round(used / (watchers * events), 1),
    delayP50Ms: quantile(delays, 0.5),
    delayP99Ms: quantile(delays, 0.99),
  };
}

/** Gets of single objects, one after another, while a thread of its own lists the whole namespace over and over. */
export async function getsBesideLists(
  server: Running,
  namespace: string,
  seconds: number,
): Promise<{ p50Ms: number; p99Ms: number; lists: number }> {
  const worker = new Worker(new URL("./list-worker.js", import.meta.url), {
    workerData: { address: server.address, path: collection(namespace) },
  });
  let listed = 0;
  worker.on("message", () => listed++);
  await new Promise((resolve) => worker.once("message", resolve));
  const connection = await Connection.open(server.address);
  const took: number[] = [];
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    const start = performance.now();
    expectStatus(await connection.send("GET", "/api/v1/namespaces/default"), 200, connection);
    took.push(performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  connection.close();
  await worker.terminate();
  return { p50Ms: quantile(took, 0.5), p99Ms: quantile(took, 0.99), lists: listed };
}

/** Share of a core that the server takes when nobody asks anything of it. */
export async function idle(server: Running, seconds: number): Promise<{ corePercent: number; residentMb: number }> {
  const cpu = server.cpuMicros();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  return {
    corePercent: round((server.cpuMicros() - cpu) / seconds / 10_000, 2),
    residentMb: megabytes(server.residentBytes()),
  };
}

export function megabytes(bytes: number): number {
  return Math.round(bytes / 1024 / 1024);
}

function openAll(address: Address, count: number): Promise<Connection[]> {
  return Promise.all(Array.from({ length: count }, () => Connection.open(address)));
}

function closeAll(connections: readonly Connection[]): void {
  for (const connection of connections) connection.close();
}

function expectStatus(status: number, expected: number, connection: Connection): void {
  if (status !== expected) throw new Error(`answered ${status}: ${connection.body.toString().slice(0, 500)}`);
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return round(sorted[Math.floor(sorted.length * share)] ?? 0, 2);
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
