import type { Clock, Timer } from "../../../kernel/clock/index.js";
import { isObject } from "../../../kernel/schema/index.js";
import type { PromisedRoom, Target } from "./types.js";

/** How long replicas that were decided on count at most while their cluster does not show them; default 30 s. */
const BOUND_MS = 30_000;
/** How long a member that took an object is given until a controller there begins with it; default 2 s. */
const IDLE_MS = 2000;
const SWEEP_MS = 500;

type Amounts = ReadonlyMap<string, bigint>;

/** What one object is promised in one cluster. */
interface Held {
  readonly uid: string;
  /** How many replicas with the same requests are promised there, by all objects. */
  readonly sum: Sum;
  /** Replicas that count. */
  pending: number;
  /** Replicas that were there before, or are seen by now. */
  settled: number;
  readonly sinceMs: number;
  /** When the member was first heard to have taken it. */
  takenMs: number | undefined;
  isBegun: boolean;
}

interface Sum {
  readonly requests: Amounts;
  count: number;
}

/** One entry of a binding's `status.aggregatedStatus`, as far as it tells what became of a promise. */
export interface Heard {
  readonly clusterName: string;
  readonly applied?: boolean | undefined;
  readonly status?: unknown;
}

/**
 * Room that was given away and that clusters do not show as used yet: so a burst of decisions does not give the same room away twice. A promise ends
 * when the cluster's own figures grow by as much, when the member has it and nobody there begins with it, or after a bound. It counts only where pods
 * run: on nodes that no kubelet looks after nothing would ever show.
 */
export class Promises {
  #clock: Clock | undefined;
  readonly #boundMs: number;
  readonly #rooms = new Map<string, Room>();
  /** Where an object is or was promised room. */
  readonly #where = new Map<string, Set<Room>>();
  readonly #handlers = new Set<() => void>();
  #timer: Timer | undefined;

  constructor({ boundMs = BOUND_MS }: { readonly boundMs?: number } = {}) {
    this.#boundMs = boundMs;
  }

  /** From now on decisions are noted; before, nothing is. */
  start(clock: Clock): void {
    this.#clock = clock;
  }

  /** What is promised in a cluster; the same object for good. */
  in(cluster: string): PromisedRoom {
    return this.#room(cluster);
  }

  /** What was seen of a cluster's nodes: whether a kubelet looks after any of them. Where that is not known, figures that show pods tell. */
  seeNodes(cluster: string, hasKubelet: boolean): void {
    this.#room(cluster).hasKubelet = hasKubelet;
  }

  /** Calls `handler` when room came free that no cluster tells of. Returns its removal. */
  onRelease(handler: () => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  /** Notes a decision: of object `uid`, which is in `before`, and goes to `after`. Saying the same again changes nothing. */
  promise(uid: string, requests: Amounts, before: readonly Target[], after: readonly Target[]): void {
    const wanted = new Map(after.map(({ name, replicas = 0 }) => [name, replicas]));
    const had = new Map(before.map(({ name, replicas = 0 }) => [name, replicas]));
    const clock = this.#clock;
    if (clock === undefined) return;
    const nowMs = clock.monotonicMs();
    const rooms = new Set([...wanted.keys(), ...had.keys()].map((cluster) => this.#room(cluster)));
    // Where an earlier decision wanted to send it, which did not come to be.
    for (const room of this.#where.get(uid) ?? []) if (!rooms.has(room)) room.drop(uid);
    for (const cluster of new Set([...wanted.keys(), ...had.keys()])) {
      const room = this.#room(cluster);
      const known = room.held.get(uid);
      const settled = known?.settled ?? had.get(cluster) ?? 0;
      const pending = Math.max(0, (wanted.get(cluster) ?? 0) - settled);
      if (known?.pending === pending) continue;
      room.drop(uid);
      if (pending === 0) continue;
      const { takenMs, isBegun } = known ?? { takenMs: undefined, isBegun: false };
      room.add({ uid, sum: room.sumOf(requests), pending, settled, sinceMs: nowMs, takenMs, isBegun });
      this.#where.set(uid, (this.#where.get(uid) ?? new Set()).add(room));
    }
    if (this.#timer === undefined) this.#timer = clock.setTimer(SWEEP_MS, () => this.#sweep(clock));
  }

  /** The object is gone, and what it was promised is free. */
  forget(uid: string): void {
    let isFreed = false;
    for (const room of this.#where.get(uid) ?? []) isFreed = room.drop(uid) || isFreed;
    this.#where.delete(uid);
    if (isFreed) this.#tell();
  }

  /** What was heard of the object from its clusters. */
  hear(uid: string, heard: readonly Heard[]): void {
    if (!this.#where.has(uid)) return;
    for (const { clusterName, applied, status } of heard) {
      const promise = this.#rooms.get(clusterName)?.held.get(uid);
      if (promise === undefined) continue;
      if (applied === true) promise.takenMs ??= this.#clock?.monotonicMs();
      if (isBegun(status)) promise.isBegun = true;
    }
  }

  /** A cluster's own figures changed: as much as is used more ends promises, the oldest first. */
  see(cluster: string, before: Amounts, now: Amounts): void {
    const room = this.#room(cluster);
    room.hasPods = (now.get("pods") ?? 0n) > 0n;
    const more = new Map([...now].map(([name, milli]) => [name, milli - (before.get(name) ?? 0n)]));
    for (const promise of room.held.values()) {
      const needs: [string, bigint][] = [...promise.sum.requests].filter(([, milli]) => milli > 0n);
      needs.push(["pods", 1000n]);
      const shown = needs.map(([name, milli]) => Number((more.get(name) ?? 0n) / milli));
      const count = Math.min(promise.pending, ...shown);
      if (count <= 0) continue;
      for (const [name, milli] of needs) more.set(name, (more.get(name) ?? 0n) - milli * BigInt(count));
      room.settle(promise, count);
    }
  }

  #room(cluster: string): Room {
    const known = this.#rooms.get(cluster);
    if (known !== undefined) return known;
    const room = new Room();
    this.#rooms.set(cluster, room);
    return room;
  }

  #sweep(clock: Clock): void {
    const nowMs = clock.monotonicMs();
    let isFreed = false;
    for (const [uid, rooms] of this.#where) {
      for (const room of rooms) {
        const promise = room.held.get(uid);
        if (promise !== undefined && nowMs < this.#endOf(promise)) continue;
        isFreed = room.drop(uid) || isFreed;
        rooms.delete(room);
      }
      if (rooms.size === 0) this.#where.delete(uid);
    }
    const isAny = this.#where.size > 0;
    this.#timer = isAny ? clock.setTimer(SWEEP_MS, () => this.#sweep(clock)) : undefined;
    if (isFreed) this.#tell();
  }

  #endOf({ sinceMs, takenMs, isBegun }: Held): number {
    const endMs = sinceMs + this.#boundMs;
    return takenMs === undefined || isBegun ? endMs : Math.min(endMs, Math.max(sinceMs, takenMs) + IDLE_MS);
  }

  #tell(): void {
    for (const handler of this.#handlers) handler();
  }
}

class Room implements PromisedRoom {
  /** By the object's uid, the oldest first. */
  readonly held = new Map<string, Held>();
  readonly #sums = new Map<string, Sum>();
  hasKubelet: boolean | undefined;
  hasPods = false;

  get isEmpty(): boolean {
    return this.held.size === 0 || !(this.hasKubelet ?? this.hasPods);
  }

  taken(requests: Amounts, exceptUid: string): { readonly pods: number; readonly replicas: number } {
    const own = exceptUid === "" ? undefined : this.held.get(exceptUid);
    let pods = 0;
    let replicas = 0;
    if (this.isEmpty) return { pods, replicas };
    for (const sum of this.#sums.values()) {
      const count = sum.count - (own?.sum === sum ? own.pending : 0);
      let share = 0;
      for (const [name, milli] of requests)
        if (milli > 0n) share = Math.max(share, Number(sum.requests.get(name) ?? 0n) / Number(milli));
      pods += count;
      replicas += count * share;
    }
    return { pods, replicas: Math.ceil(replicas) };
  }

  /** The sum of what asks for the same. */
  sumOf(requests: Amounts): Sum {
    const shape = [...requests]
      .map(([name, milli]) => `${name}=${milli}`)
      .sort()
      .join();
    const known = this.#sums.get(shape);
    if (known !== undefined) return known;
    const sum = { requests, count: 0 };
    this.#sums.set(shape, sum);
    return sum;
  }

  add(promise: Held): void {
    this.held.set(promise.uid, promise);
    promise.sum.count += promise.pending;
  }

  settle(promise: Held, count: number): void {
    promise.pending -= count;
    promise.settled += count;
    promise.sum.count -= count;
    if (promise.pending === 0) this.held.delete(promise.uid);
  }

  drop(uid: string): boolean {
    const promise = this.held.get(uid);
    if (promise === undefined) return false;
    promise.sum.count -= promise.pending;
    this.held.delete(uid);
    if (this.held.size === 0) this.#sums.clear();
    return true;
  }
}

/** Whether a controller of the member has written anything into a status. */
export function isBegun(status: unknown): boolean {
  return (
    isObject(status) &&
    Object.entries(status).some(
      ([name, value]) => name !== "generation" && name !== "resourceTemplateGeneration" && value !== 0,
    )
  );
}
