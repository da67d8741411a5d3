/** The hub ended and started again while its members go on: until it has seen everything that happened meanwhile. */
import { Pool, sleep, until, watch } from "./client.js";
import type { RestartableHub } from "./hubs.js";
import { isReported, round } from "./loads.js";
import { allWorks, bindings, deployments, indexIn, nameOf, nextBatch, work, works } from "./objects.js";
import { cpuOf } from "./processes.js";

export interface RestartResult {
  readonly works: number;
  /** What was done to the members meanwhile: objects deleted, statuses changed. */
  readonly changes: number;
  /** From the start of the process, in seconds. */
  readonly answersAfter: number;
  readonly newWorksAppliedAfter: number;
  /** Everything that changed is put right or reported in its binding. */
  readonly settledAfter: number;
  /** The hub is at rest: less than a fifth of a core for a second. */
  readonly quietAfter: number;
}

/**
 * Ends the hub; one of a hundred Deployments is deleted in the first member, and of another one the status is changed in the second;
 * starts the hub, writes a Work for every member. The changes are spread over all, so that they are done when all is.
 */
export async function restart(
  hub: RestartableHub,
  { batch, count, limit }: { readonly batch: number; readonly count: number; readonly limit: number },
): Promise<RestartResult> {
  const [first, second] = hub.members;
  if (first === undefined || second === undefined) throw new Error("two members are needed");
  await hub.halt();
  const deleted = indices(count, 0);
  const changed = indices(count, 50);
  const [inFirst, inSecond] = [await Pool.open(first.address, 4), await Pool.open(second.address, 4)];
  const back = new Set<number>();
  for (const index of deleted) await inFirst.send("DELETE", `${deployments}/${nameOf(batch, index)}`);
  const wanted = new Set(deleted);
  const unwatch = await watch(first.address, deployments, (line) => {
    const index = indexIn(line, batch);
    if (index !== undefined && wanted.has(index) && line.includes('"ADDED"')) back.add(index);
  });
  for (const index of changed) await changeStatus(inSecond, `${deployments}/${nameOf(batch, index)}`);
  inFirst.close();
  inSecond.close();
  const begun = performance.now();
  const since = (): number => round((performance.now() - begun) / 1000, 2);
  await hub.resume();
  const answersAfter = since();
  const news = newWorks(hub, limit).then(since);
  const pool = await Pool.open(hub.address, 4);
  await until("deleted Deployments are back", limit, () => back.size >= deleted.length);
  let seen = 0;
  await until("changed statuses are in the bindings", limit, async () => {
    while (seen < changed.length) {
      const text = await pool.send("GET", `${bindings}/${nameOf(batch, changed[seen] ?? 0)}-deployment`);
      if (!/"readyReplicas":\s?2/.test(text)) return false;
      seen += 1;
    }
    return true;
  });
  const newWorksAppliedAfter = await news;
  const settledAfter = since();
  unwatch();
  pool.close();
  await until("the hub is at rest", limit, async () => {
    const cpu = cpuOf(hub.pids());
    await sleep(1000);
    return cpuOf(hub.pids()) - cpu < 200_000;
  });
  const quietAfter = since();
  const changes = deleted.length + changed.length;
  return { works: count * hub.members.length, changes, answersAfter, newWorksAppliedAfter, settledAfter, quietAfter };
}

function indices(count: number, from: number): number[] {
  return Array.from({ length: Math.ceil((count - from) / 100) }, (_, index) => from + index * 100);
}

/** As the member's own controllers do when the pods of a Deployment get ready. */
async function changeStatus(pool: Pool, path: string): Promise<void> {
  const object = (await pool.json(path)) as { readonly metadata: { readonly generation: number } };
  const { generation } = object.metadata;
  const counts = { replicas: 2, readyReplicas: 2, availableReplicas: 2, updatedReplicas: 2 };
  await pool.send("PUT", `${path}/status`, { ...object, status: { observedGeneration: generation, ...counts } });
}

/** A Work for every member; resolves when all are applied and reported. */
async function newWorks(hub: RestartableHub, limit: number): Promise<void> {
  const batch = nextBatch();
  const reported = new Set<number>();
  const unwatch = await watch(hub.address, allWorks, (line) => {
    const index = indexIn(line, batch);
    if (index !== undefined && isReported(line)) reported.add(index);
  });
  const pool = await Pool.open(hub.address, 1);
  for (const [index, { name }] of hub.members.entries()) await pool.send("POST", works(name), work(name, batch, index));
  pool.close();
  await until("new Works are applied", limit, () => reported.size >= hub.members.length);
  unwatch();
}
