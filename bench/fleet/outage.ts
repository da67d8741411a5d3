/** One member frozen under load (it answers nobody, its connections stay): what the others feel of it, and when it is noticed. */

import { Pool, sleep, until, watch, within } from "./client.js";
import type { Hub } from "./hubs.js";
import { offer, quantile, round } from "./loads.js";
import { isReady } from "./members.js";
import { clusters, deployments, indexIn, nextBatch, work, works } from "./objects.js";

export interface OutageResult {
  readonly perSecond: number;
  readonly frozenSeconds: number;
  /** From write to applied in the healthy members, in milliseconds. */
  readonly before: { readonly p50Ms: number; readonly p99Ms: number };
  readonly during: { readonly p50Ms: number; readonly p99Ms: number; readonly maxMs: number };
  /** Seconds from the freeze; null: not while it was frozen. */
  readonly notReadyAfter: number | null;
  /** Seconds from the thaw. */
  readonly readyAfter: number;
  readonly allDeliveredAfter: number;
}

/** Offers Works for all members, turn by turn: some seconds as they are, then with the second one frozen; then waits for everything. */
export async function outage(
  hub: Hub,
  options: { readonly perSecond: number; readonly seconds: number; readonly limit: number },
): Promise<OutageResult> {
  const { perSecond, seconds, limit } = options;
  const batch = nextBatch();
  const at: number[] = [];
  const frozen = hub.members[1];
  if (frozen === undefined) throw new Error("two members are needed");
  const ends: (() => void)[] = [];
  for (const { address } of hub.members)
    ends.push(
      await watch(address, deployments, (line) => {
        const index = indexIn(line, batch);
        if (index !== undefined) at[index] ??= performance.now();
      }),
    );
  const changes: { readonly at: number; readonly isReady: boolean }[] = [];
  ends.push(
    await watch(hub.address, clusters, (line) => {
      const { object } = JSON.parse(line) as { readonly object: { readonly metadata?: { readonly name: string } } };
      if (object.metadata?.name === frozen.name) changes.push({ at: performance.now(), isReady: isReady(object) });
    }),
  );
  const pool = await Pool.open(hub.address, 32);
  const memberOf = (index: number): string => hub.members[index % hub.members.length]?.name ?? "";
  const calm = 10;
  const count = perSecond * (calm + seconds);
  const offered = offer(count, perSecond, async (index) => {
    const member = memberOf(index);
    await pool.send("POST", works(member), work(member, batch, index));
  });
  await sleep(calm * 1000);
  frozen.freeze();
  const from = performance.now();
  const due = await within("the writes", seconds + limit, offered);
  await until("the healthy members have everything", limit, () =>
    due.every((_, index) => memberOf(index) === frozen.name || at[index] !== undefined),
  );
  frozen.thaw();
  const thawed = performance.now();
  await until("the thawed member has everything", limit, () => due.every((_, index) => at[index] !== undefined));
  const allDeliveredAfter = round((performance.now() - thawed) / 1000, 1);
  const last = (): boolean => changes.findLast((change) => change.at > from)?.isReady ?? true;
  await until("the thawed member is Ready", limit, last);
  const readyAt = changes.findLast((change) => change.at > thawed && change.isReady)?.at ?? thawed;
  const notReadyAt = changes.find((change) => change.at > from && !change.isReady)?.at;
  const delays = (isFrozen: boolean): number[] =>
    due.flatMap((dueAt, index) =>
      memberOf(index) !== frozen.name && dueAt > from === isFrozen ? [(at[index] ?? Number.NaN) - dueAt] : [],
    );
  for (const end of ends) end();
  pool.close();
  const [before, during] = [delays(false), delays(true)];
  return {
    perSecond,
    frozenSeconds: round((thawed - from) / 1000, 1),
    before: { p50Ms: quantile(before, 0.5), p99Ms: quantile(before, 0.99) },
    during: { p50Ms: quantile(during, 0.5), p99Ms: quantile(during, 0.99), maxMs: quantile(during, 1) },
    notReadyAfter: notReadyAt === undefined ? null : round((notReadyAt - from) / 1000, 1),
    readyAfter: round((readyAt - thawed) / 1000, 1),
    allDeliveredAfter,
  };
}
