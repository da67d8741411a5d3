/**
 * What the record store, tracking, the ledger and the artifact directory do on this machine: durable writes a second by one and by
 * 32 writers, metric rows a second, reads, and artifact bytes. In one process, without HTTP; every write is on the disk
 * before it counts. Run: `node dist/bench/stores.js [--rounds 3]`; prints JSON with the median of the rounds.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRandom } from "../src/kernel/clock/index.js";
import { silentLogger } from "../src/kernel/log/index.js";
import { createTrackingModule } from "../src/modules/tracking/index.js";
import { openDirectoryBlobs } from "../src/stores/blobs/index.js";
import { openLedger } from "../src/stores/ledger/index.js";
import { openSqliteRecords } from "../src/stores/records/index.js";
import { availableSqliteDrivers } from "../src/stores/sqlite/index.js";

type Figures = Record<string, number>;
type Send = (method: string, call: string, body: unknown) => Promise<Record<string, unknown>>;

const JSON_TYPE = { "content-type": "application/json" };

async function main(): Promise<void> {
  const at = process.argv.indexOf("--rounds");
  const rounds: Figures[] = [];
  for (let round = 0; round < (at < 0 ? 3 : Number(process.argv[at + 1])); round++) rounds.push(await measure());
  const names = Object.keys(rounds[0] ?? {});
  const figures = Object.fromEntries(names.map((name) => [name, median(rounds.map((figures) => figures[name] ?? 0))]));
  const machine = { cpus: cpus().length, node: process.version, sqlite: availableSqliteDrivers()[0] };
  process.stdout.write(`${JSON.stringify({ bench: "stores", rounds: rounds.length, machine, ...figures }, null, 2)}\n`);
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return Math.round((sorted[sorted.length >> 1] ?? 0) * 1000) / 1000;
}

/** How many of something a second `work` does. */
async function perSecond(count: number, work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return (count / (performance.now() - started)) * 1000;
}

async function measure(): Promise<Figures> {
  const directory = mkdtempSync(join(tmpdir(), "argosy-bench-stores-"));
  const records = openSqliteRecords({ file: join(directory, "records.db"), clock: systemClock });
  try {
    const blobs = await openDirectoryBlobs({ directory: join(directory, "artifacts"), random: systemRandom });
    const tracking = await createTrackingModule({ records, blobs, clock: systemClock, random: systemRandom });
    const send = sender(tracking.routes ?? []);
    return {
      ...(await measureTracking(send)),
      ...(await measureLedger(records)),
      ...(await measureBlobs(blobs)),
    };
  } finally {
    await records.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

type Routes = NonNullable<Awaited<ReturnType<typeof createTrackingModule>>["routes"]>;

function sender(routes: Routes): Send {
  return async (method, call, body) => {
    const path = `/api/2.0/mlflow/${call}`;
    const route = routes.find((candidate) => candidate.method === method && candidate.path === path);
    const answer = await route?.handle({
      method,
      path,
      parameters: {},
      query: new URLSearchParams(),
      headers: JSON_TYPE,
      user: { username: "bench", groups: [] },
      body: (async function* () {
        yield Buffer.from(JSON.stringify(body));
      })(),
      signal: AbortSignal.timeout(60_000),
    });
    if (answer?.status !== 200) throw new TypeError(`${call} answered ${answer?.status}`);
    return JSON.parse(answer.body as string);
  };
}

async function measureTracking(send: Send): Promise<Figures> {
  const runs: string[] = [];
  const createRun = async (start: number): Promise<void> => {
    const { run } = (await send("POST", "runs/create", { experiment_id: "0", start_time: start })) as {
      run: { info: { run_id: string } };
    };
    runs.push(run.info.run_id);
  };
  const one = await perSecond(300, async () => {
    for (let i = 0; i < 300; i++) await createRun(i);
  });
  const many = await perSecond(1024, async () => {
    for (let i = 0; i < 32; i++) await Promise.all(Array.from({ length: 32 }, (_, j) => createRun(i * 32 + j)));
  });
  const metrics = await perSecond(500, async () => {
    for (let i = 0; i < 500; i++)
      await send("POST", "runs/log-metric", { run_id: runs[i], key: "acc", value: i, timestamp: i, step: i });
  });
  const points = Array.from({ length: 1000 }, (_, j) => ({ key: `m${j % 5}`, value: j, timestamp: j, step: j }));
  const rows = await perSecond(30_000, async () => {
    for (let i = 0; i < 30; i++) await send("POST", "runs/log-batch", { run_id: runs[i], metrics: points });
  });
  const query = { experiment_ids: ["0"], filter: "metrics.acc > 5", order_by: ["metrics.acc DESC"], max_results: 100 };
  const searches = await perSecond(20, async () => {
    for (let i = 0; i < 20; i++) await send("POST", "runs/search", query);
  });
  return {
    runsCreatedPerSecond: one,
    runsCreatedPerSecondBy32: many,
    metricsLoggedPerSecond: metrics,
    metricRowsPerSecond: rows,
    searchOf1300RunsMs: 1000 / searches,
  };
}

async function measureLedger(records: ReturnType<typeof openSqliteRecords>): Promise<Figures> {
  const ledger = await openLedger({ records, clock: systemClock, log: silentLogger });
  const decisions = await perSecond(5000, async () => {
    for (let i = 0; i < 5000; i++) {
      ledger.record({
        cluster: "hub",
        about: { apiVersion: "v1", kind: "Pod", namespace: "default", name: `pod-${i}` },
        topic: "placement",
        rule: "most free memory",
        inputs: { nodes: 3, requested: "1Gi" },
        outcome: "on node-1",
        winners: [{ name: "node-1", reason: "it has room" }],
        losers: [{ name: "node-2", reason: "it is full" }],
      });
    }
    await ledger.flush();
  });
  await ledger.close();
  return { decisionsPerSecond: decisions };
}

async function measureBlobs(blobs: Awaited<ReturnType<typeof openDirectoryBlobs>>): Promise<Figures> {
  const megabyte = Buffer.alloc(1_000_000, "a");
  const written = await perSecond(100, async () => {
    await blobs.put(
      "large",
      (async function* () {
        for (let i = 0; i < 100; i++) yield megabyte;
      })(),
    );
  });
  const read = await perSecond(100, async () => {
    const large = await blobs.get("large");
    for await (const _ of large?.body ?? []);
  });
  const small = await perSecond(200, async () => {
    for (let i = 0; i < 200; i++) await blobs.put(`small/${i}`, Buffer.from("x"));
  });
  return {
    artifactMegabytesWrittenPerSecond: written,
    artifactMegabytesReadPerSecond: read,
    smallArtifactsPerSecond: small,
  };
}

await main();
