import type { Clock, Random, Timer } from "../../kernel/clock/types.js";
import { FairQueue, type Waiting } from "./activator-queue.js";
import type { ActivatorReport, ColdStart } from "./activator-report.js";
import type { ActivatorTable } from "./activator-table.js";
import type { Backend, Choice, Endpoint } from "./balance.js";

/** Why a request was not handed to a pod. */
export interface Refusal {
  readonly reason: "QueueFull" | "QueueTimeout" | "NoRoute";
  readonly message: string;
  readonly retryAfterSeconds: number;
}

/** A request at an activator. Called back once, at once or later; not at all after it left. */
export interface Asking extends Waiting {
  /** Whose backends it may go to. */
  readonly routeId: string;
  /** Addresses that failed it already; used only where there is no other. */
  readonly tried: readonly Endpoint[];
  granted(choice: Choice): void;
  refused(refusal: Refusal): void;
}

/** What all activators share. */
export interface ActivatorSurroundings {
  readonly clock: Clock;
  readonly random: Random;
  /** A request met an activator without a pod. */
  readonly woken: () => void;
}

/** How many requests a new address gets at first while others wait; doubles with time and grows with every answer, so that it is not run over. */
const FIRST_SLICE = 64;
const DOUBLE_MS = 1000;
/** Memory for the bodies of those that wait, of one activator. */
const MAX_HELD_BYTES = 256 * 1024 * 1024;
/** While requests wait although pods have room for more soon. */
const PUMP_MS = 10;

/** What is known of one address. */
class Place {
  inFlight = 0;
  answered = 0;
  readonly sinceMs: number;

  constructor(nowMs: number) {
    this.sinceMs = nowMs;
  }

  /** Most requests that it may have now. */
  room(nowMs: number, concurrency: number): number {
    if (concurrency > 0) return concurrency;
    const doublings = (nowMs - this.sinceMs) / DOUBLE_MS;
    return doublings > 20 ? Number.POSITIVE_INFINITY : FIRST_SLICE * 2 ** doublings + this.answered;
  }
}

/** Holds the requests of one workload while no pod has room for them, hands them over fairly, and counts them. */
export class Activator {
  readonly name: string;
  table: ActivatorTable;
  readonly #around: ActivatorSurroundings;
  /** Backends in force, by route. */
  readonly #backends = new Map<Backend, string>();
  readonly #queue = new FairQueue<Asking>();
  readonly #granted = new Map<Asking, { readonly place: Place; readonly atMs: number; readonly episode: number }>();
  readonly #places = new Map<string, Place>();
  readonly #arrivedAt = new Map<Asking, number>();
  #timer: Timer | undefined;
  #isPumping = false;
  #turn = 0;
  #busyMs = 0;
  #busySinceMs: number;
  #counts = { arrived: 0, answered: 0, full: 0, late: 0, cancelled: 0, gone: 0 };
  #latencySumMs = 0;
  #waitSumMs = 0;
  #cold: { number: number; beganAt: number; admittedAt?: number; answeredAt?: number } | undefined;

  constructor(table: ActivatorTable, around: ActivatorSurroundings) {
    this.name = table.name;
    this.table = table;
    this.#around = around;
    this.#busySinceMs = around.clock.monotonicMs();
  }

  attach(backend: Backend, routeId: string): void {
    if (backend.table.activator !== undefined) this.table = backend.table.activator;
    this.#backends.set(backend, routeId);
  }

  /** True when nothing is left of it. */
  detach(backend: Backend): boolean {
    this.#backends.delete(backend);
    return this.#backends.size === 0;
  }

  /** Nobody stands behind it any more: who waits is told. */
  close(): void {
    this.#timer?.cancel();
    for (const asking of this.#queue.all()) {
      this.#counts.gone++;
      this.#refuse(asking, {
        reason: "NoRoute",
        message: "its route was taken out of the table",
        retryAfterSeconds: 1,
      });
    }
  }

  get hasPod(): boolean {
    for (const { endpoints } of this.#backends.keys())
      for (const endpoint of endpoints) if (endpoint.isHealthy) return true;
    return false;
  }

  /** A request arrives. */
  enter(asking: Asking): void {
    this.#tick();
    if (asking.tried.length === 0) this.#counts.arrived++;
    const nowMs = this.#around.clock.monotonicMs();
    this.#arrivedAt.set(asking, nowMs);
    const choice = this.#queue.size === 0 ? this.#find(asking, nowMs) : undefined;
    if (choice !== undefined) {
      this.#grant(asking, choice, nowMs);
      return;
    }
    const isFull = this.#queue.size >= this.table.maxQueue || this.#queue.bytes + asking.bytes > MAX_HELD_BYTES;
    if (isFull && !this.#makeRoomFor(asking)) {
      this.#counts.full++;
      this.#refuse(asking, this.#fullness());
      return;
    }
    this.#queue.add(asking);
    if (this.hasPod) this.pump();
    else this.#wake();
  }

  #wake(): void {
    if (this.#cold === undefined || this.#cold.answeredAt !== undefined)
      this.#cold = { number: (this.#cold?.number ?? 0) + 1, beganAt: this.#around.clock.now() };
    this.#around.woken();
  }

  #fullness(): Refusal {
    const message = `${this.#queue.size} requests wait for a pod of ${this.name} already, and no more may`;
    return { reason: "QueueFull", message, retryAfterSeconds: 1 };
  }

  /** A tenant that has little in the queue takes the place of the last one of who has most. */
  #makeRoomFor({ tenant }: Asking): boolean {
    const last = this.#queue.lastOfLongest(tenant);
    if (last === undefined) return false;
    this.#queue.remove(last);
    this.#counts.full++;
    this.#refuse(last, this.#fullness());
    return true;
  }

  #refuse(asking: Asking, refusal: Refusal): void {
    this.#tick();
    this.#queue.remove(asking);
    this.#arrivedAt.delete(asking);
    asking.refused(refusal);
  }

  /** It waited for as long as it may. */
  expire(asking: Asking): void {
    const { waitMs } = this.table;
    const message = `no pod of ${this.name} could take it within ${waitMs} ms`;
    this.#counts.late++;
    this.#refuse(asking, { reason: "QueueTimeout", message, retryAfterSeconds: 5 });
  }

  /** It is over, whether it waited still or had its pod. `status` 0: without an answer. */
  leave(asking: Asking, status: number): void {
    const grant = this.#granted.get(asking);
    const arrivedMs = this.#arrivedAt.get(asking);
    if (arrivedMs === undefined) return;
    this.#tick();
    this.#arrivedAt.delete(asking);
    if (grant === undefined) {
      this.#queue.remove(asking);
      this.#counts.cancelled++;
      return;
    }
    this.#granted.delete(asking);
    grant.place.inFlight--;
    if (status > 0) {
      grant.place.answered++;
      this.#counts.answered++;
      this.#latencySumMs += this.#around.clock.monotonicMs() - arrivedMs;
      if (this.#cold !== undefined && this.#cold.number === grant.episode && this.#cold.answeredAt === undefined)
        this.#cold.answeredAt = this.#around.clock.now();
    }
    if (this.#queue.size > 0) this.pump();
  }

  /** Hands out what can be handed out. */
  pump(): void {
    if (this.#isPumping || this.#queue.size === 0) return;
    this.#isPumping = true;
    const nowMs = this.#around.clock.monotonicMs();
    this.#tick();
    try {
      while (this.#queue.size > 0 && this.#hasRoom(nowMs)) {
        const asking = this.#queue.next();
        const choice = asking === undefined ? undefined : this.#find(asking, nowMs);
        if (asking === undefined) break;
        if (choice === undefined) {
          // Room was there, but not for this one: back, and again when something changes.
          this.#queue.add(asking);
          break;
        }
        this.#grant(asking, choice, nowMs);
      }
    } finally {
      this.#isPumping = false;
    }
    if (this.#queue.size > 0 && this.hasPod) this.#pumpSoon();
  }

  /** The room of addresses without a limit grows by itself; that of others when a request is over. */
  #pumpSoon(): void {
    if (this.table.concurrency > 0) return;
    this.#timer ??= this.#around.clock.setTimer(PUMP_MS, () => {
      this.#timer = undefined;
      this.pump();
    });
  }

  #grant(asking: Asking, choice: Choice, nowMs: number): void {
    const place = this.#placeOf(choice.endpoint.address, nowMs);
    place.inFlight++;
    this.#waitSumMs += nowMs - (this.#arrivedAt.get(asking) ?? nowMs);
    this.#granted.set(asking, { place, atMs: nowMs, episode: this.#cold?.number ?? 0 });
    if (this.#cold !== undefined && this.#cold.admittedAt === undefined)
      this.#cold.admittedAt = this.#around.clock.now();
    asking.granted(choice);
  }

  #placeOf(address: string, nowMs: number): Place {
    let place = this.#places.get(address);
    if (place === undefined) {
      this.#forgetPlaces();
      place = new Place(nowMs);
      this.#places.set(address, place);
    }
    return place;
  }

  /** Addresses that are in no table any more. */
  #forgetPlaces(): void {
    const known = new Set<string>();
    for (const { endpoints } of this.#backends.keys()) for (const { address } of endpoints) known.add(address);
    for (const [address, { inFlight }] of this.#places)
      if (inFlight === 0 && !known.has(address)) this.#places.delete(address);
  }

  #hasRoom(nowMs: number): boolean {
    for (const { endpoints } of this.#backends.keys())
      for (const endpoint of endpoints) if (endpoint.isHealthy && this.#isFree(endpoint, nowMs)) return true;
    return false;
  }

  #isFree({ address }: Endpoint, nowMs: number): boolean {
    const place = this.#places.get(address);
    return place === undefined || place.inFlight < place.room(nowMs, this.table.concurrency);
  }

  /** A pod with room: the first one for a limit of up to 3, the next one in turn for a higher limit, without a limit the less loaded of two by chance. */
  #find(asking: Asking, nowMs: number): Choice | undefined {
    const free = this.#free(asking, nowMs);
    const { concurrency } = this.table;
    const first = free[0];
    if (first === undefined || free.length === 1 || (concurrency > 0 && concurrency <= 3)) return first;
    if (concurrency > 3) {
      this.#turn = (this.#turn + 1) % free.length;
      return free[this.#turn];
    }
    const one = free[this.#around.random.int(free.length)] ?? first;
    const other = free[this.#around.random.int(free.length)] ?? first;
    return this.#load(one) <= this.#load(other) ? one : other;
  }

  #load({ endpoint }: Choice): number {
    return this.#places.get(endpoint.address)?.inFlight ?? 0;
  }

  #free({ routeId, tried }: Asking, nowMs: number): readonly Choice[] {
    const choices: Choice[] = [];
    const again: Choice[] = [];
    for (const [backend, route] of this.#backends) {
      if (route !== routeId) continue;
      for (const endpoint of backend.endpoints) {
        if (!endpoint.isHealthy || !this.#isFree(endpoint, nowMs)) continue;
        (tried.includes(endpoint) ? again : choices).push({ backend, endpoint });
      }
    }
    return choices.length > 0 ? choices : again;
  }

  /** Adds the time since the last change to the sum of everyone's time here. */
  #tick(): void {
    const nowMs = this.#around.clock.monotonicMs();
    this.#busyMs += (nowMs - this.#busySinceMs) * this.#arrivedAt.size;
    this.#busySinceMs = nowMs;
  }

  report(): ActivatorReport {
    this.#tick();
    const { arrived, answered, full, late, cancelled, gone } = this.#counts;
    const cold: ColdStart | undefined = this.#cold === undefined ? undefined : { ...this.#cold };
    return {
      name: this.name,
      atMs: this.#busySinceMs,
      waiting: this.#queue.size,
      active: this.#granted.size,
      pods: this.#podCount,
      busyMs: this.#busyMs,
      arrived,
      answered,
      latencySumMs: this.#latencySumMs,
      waitSumMs: this.#waitSumMs,
      refused: { full, late, cancelled, gone },
      ...(cold === undefined ? {} : { cold }),
    };
  }

  get #podCount(): number {
    const addresses = new Set<string>();
    for (const { endpoints } of this.#backends.keys())
      for (const { address, isHealthy } of endpoints) if (isHealthy) addresses.add(address);
    return addresses.size;
  }
}
