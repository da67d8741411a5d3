/** Loads on a hub, and what they cost and take. CPU is of the hub alone, from the first write until everything is done and reported. */
import { Pool, readText, sleep, until, watch, within } from "./client.js";
import type { Hub } from "./hubs.js";
import {
  allWorks,
  bindings,
  deployment,
  deployments,
  indexIn,
  nextBatch,
  policies,
  policy,
  work,
  works,
} from "./objects.js";
import { cpuOf } from "./processes.js";

/** Milliseconds of the clock that all loads use. */
const now = (): number => performance.now();

/** Writers at a time where things are written as fast as the hub takes them: with half of them the hub waits for its writers where each has two things to write. */
const LANES = 64;

/** Writes `count` things as fast as they are taken, or at a rate. Resolves with when each was due. */
export async function offer(
  count: number,
  perSecond: number | undefined,
  write: (index: number) => Promise<void>,
): Promise<number[]> {
  const due: number[] = [];
  const pending: Promise<void>[] = [];
  const begun = now();
  if (perSecond === undefined) {
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < count) {
        const index = next++;
        due[index] = now();
        await write(index);
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    return due;
  }
  while (due.length < count) {
    const wanted = Math.min(count, Math.floor(((now() - begun) / 1000) * perSecond) + 1);
    while (due.length < wanted) {
      const index = due.length;
      due.push(begun + (index / perSecond) * 1000);
      pending.push(write(index));
    }
    await sleep(2);
  }
  await Promise.all(pending);
  return due;
}

/** What of a batch came to pass, and when. */
interface Arrivals {
  /** By member, then index: when it was in the member; NaN: never. */
  readonly at: ReadonlyMap<string, number[]>;
  readonly done: Set<number>;
  count(): number;
  close(): void;
}

/** Follows a batch: its Deployments in all members, and in the hub the lines that say that one is done. */
async function follow(hub: Hub, batch: number, path: string, isDone: (line: string) => boolean): Promise<Arrivals> {
  const at = new Map<string, number[]>();
  const done = new Set<number>();
  const ends: (() => void)[] = [];
  let count = 0;
  for (const { name, address } of hub.members) {
    const times: number[] = [];
    at.set(name, times);
    ends.push(
      await watch(address, deployments, (line) => {
        const index = indexIn(line, batch);
        if (index === undefined || times[index] !== undefined) return;
        times[index] = now();
        count += 1;
      }),
    );
  }
  ends.push(
    await watch(hub.address, path, (line) => {
      const index = indexIn(line, batch);
      if (index !== undefined && isDone(line)) done.add(index);
    }),
  );
  return {
    at,
    done,
    count: () => count,
    close: () => {
      for (const end of ends) end();
    },
  };
}

/** A Work that is applied and whose status is back. */
export const isReported = (line: string): boolean =>
  line.includes('"AppliedSuccessful"') && line.includes('"manifestStatuses":[{');
/** A binding that is everywhere. */
const isFullyApplied = (line: string): boolean => line.includes('"FullyAppliedSuccess"');

export interface LoadResult {
  readonly count: number;
  readonly cpuMs: number;
  /** The same of all members together, and of this program. */
  readonly membersCpuMs: number;
  readonly clientCpuMs: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Writes to the hub's store, of this program and of the hub itself. */
  readonly writesEach: number;
  /** Requests to the hub's API, of the same two; absent where the hub does not count them. */
  readonly requestsEach?: number;
  /** The last is reported so long after the last is applied. */
  readonly reportedAfterMs: number;
}

/** Works written by hand, turn by turn for each member. */
export async function rawWorks(hub: Hub, count: number, perSecond?: number, limit = 300): Promise<LoadResult> {
  const batch = nextBatch();
  const arrivals = await follow(hub, batch, allWorks, isReported);
  const pool = await Pool.open(hub.address, LANES);
  const memberOf = (index: number): string => hub.members[index % hub.members.length]?.name ?? "";
  const before = await takenSoFar(hub);
  const due = await within(
    "the writes",
    limit,
    offer(count, perSecond, async (index) => {
      const member = memberOf(index);
      await pool.send("POST", works(member), work(member, batch, index));
    }),
  );
  await until(`${count} Works are applied`, limit, () => arrivals.count() >= count);
  const applied = due.map((_, index) => arrivals.at.get(memberOf(index))?.[index] ?? Number.NaN);
  const result = await finish(hub, { arrivals, due, applied, before, limit, count });
  pool.close();
  return result;
}

/** Deployments that a policy sends to all members; each is applied when it is in the last of them. */
export async function templates(
  hub: Hub,
  count: number,
  options: {
    readonly perSecond?: number;
    /** Each Deployment has a policy of its own; default: one policy selects all. */
    readonly hasOwnPolicy?: boolean;
    readonly limit?: number;
    readonly batch?: number;
  } = {},
): Promise<LoadResult> {
  const { perSecond, hasOwnPolicy = false, limit = 300, batch = nextBatch() } = options;
  const names = hub.members.map(({ name }) => name);
  const arrivals = await follow(hub, batch, bindings, isFullyApplied);
  const pool = await Pool.open(hub.address, LANES);
  const before = await takenSoFar(hub);
  if (!hasOwnPolicy) await pool.send("POST", policies, policy(batch, names));
  const due = await within(
    "the writes",
    limit,
    offer(count, perSecond, async (index) => {
      if (hasOwnPolicy) await pool.send("POST", policies, policy(batch, names, index));
      await pool.send("POST", deployments, deployment(batch, index));
    }),
  );
  const all = count * names.length;
  await until(`${count} Deployments are in all members`, limit, () => arrivals.count() >= all);
  const applied = due.map((_, index) =>
    Math.max(...[...arrivals.at.values()].map((times) => times[index] ?? Number.NaN)),
  );
  const result = await finish(hub, { arrivals, due, applied, before, limit, count });
  pool.close();
  return result;
}

async function finish(
  hub: Hub,
  load: {
    readonly arrivals: Arrivals;
    readonly due: readonly number[];
    readonly applied: readonly number[];
    readonly before: Taken;
    readonly limit: number;
    readonly count: number;
  },
): Promise<LoadResult> {
  const { arrivals, due, applied, before, limit, count } = load;
  const last = now();
  await until(`the status of all ${count} is back`, limit, () => arrivals.done.size >= count);
  const reportedAfterMs = Math.round(now() - last);
  await sleep(1000); // what else follows of it
  const after = await takenSoFar(hub);
  arrivals.close();
  const delays = applied.map((at, index) => at - (due[index] ?? Number.NaN));
  return {
    count,
    cpuMs: round((after.cpuMicros.asked - before.cpuMicros.told) / 1000 / count, 3),
    membersCpuMs: round((after.membersCpuMicros - before.membersCpuMicros) / 1000 / count, 3),
    clientCpuMs: round((after.clientCpuMicros - before.clientCpuMicros) / 1000 / count, 3),
    perSecond: round(count / ((Math.max(...applied) - Math.min(...due)) / 1000), 1),
    p50Ms: quantile(delays, 0.5),
    p99Ms: quantile(delays, 0.99),
    writesEach: round((after.writes - before.writes) / count, 1),
    ...(after.requests === undefined || before.requests === undefined
      ? {}
      : { requestsEach: round((after.requests - before.requests) / count, 1) }),
    reportedAfterMs,
  };
}

/** What a hub has used up and done so far. */
interface Taken {
  /** Before and after this was asked, which takes some itself. */
  readonly cpuMicros: { readonly asked: number; readonly told: number };
  readonly membersCpuMicros: number;
  readonly clientCpuMicros: number;
  readonly writes: number;
  readonly requests: number | undefined;
}

async function takenSoFar(hub: Hub): Promise<Taken> {
  const asked = cpuOf(hub.pids());
  const membersCpuMicros = cpuOf(hub.members.map(({ pid }) => pid));
  const { user, system } = process.cpuUsage();
  // A store numbers its writes; a list says at which it is.
  const list = await readText(hub.address, "/api/v1/namespaces?limit=1");
  const writes = Number(/"resourceVersion":\s?"(\d+)"/.exec(list)?.[1] ?? 0);
  const metrics = await readText(hub.address, "/metrics");
  const counts = [...metrics.matchAll(/^apiserver_request_total\{[^}]*\} (\S+)$/gm)].map(([, count]) => Number(count));
  const requests = counts.length === 0 ? undefined : counts.reduce((sum, count) => sum + count, 0);
  const cpuMicros = { asked, told: cpuOf(hub.pids()) };
  return { cpuMicros, membersCpuMicros, clientCpuMicros: user + system, writes, requests };
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0, 1);
}

export function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
