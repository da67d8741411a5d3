import { addressToNumber, numberToAddress } from "./leases.js";

/** Mark of the routes that are written here, so that they are told from all others. */
const protocol = "proto 77";

/** The pods' network, as a pod sees it. */
export interface GuardRange {
  readonly base: string;
  readonly prefix: number;
  /** The machine's address among the pods: always let in. */
  readonly gateway: string;
}

export interface GuardOptions {
  readonly range: () => GuardRange;
  /** Runs lines of `ip -batch` in a pod's network; returns what they print, rejects when one fails. */
  readonly run: (podUid: string, lines: readonly string[]) => Promise<string>;
  /** Whether the pod has a network now. */
  readonly exists: (podUid: string) => boolean;
}

/**
 * Lets only some pods of a network reach a pod, with nothing but routes in its own namespace: what it sends to any other address of the network is dropped, so
 * that no connection comes about, either way. Nobody but the machine's root can take them away: pods have no rights over networks unless they are privileged.
 */
export class Guards {
  readonly #options: GuardOptions;
  readonly #wanted = new Map<string, readonly string[]>();
  /** Routes as they were last written. */
  readonly #written = new Map<string, ReadonlySet<string>>();
  readonly #turns = new Map<string, Promise<void>>();

  constructor(options: GuardOptions) {
    this.#options = options;
  }

  /** Only these addresses of the network and the machine reach the pod; `undefined`: all. Holds from its start on for a pod that is not attached yet. */
  set(podUid: string, callers: readonly string[] | undefined): Promise<void> {
    if (callers === undefined) this.#wanted.delete(podUid);
    else this.#wanted.set(podUid, callers);
    return this.#turn(podUid);
  }

  /** The pod's network stands: a new one, or one of an earlier run. */
  attached(podUid: string, isNew: boolean): Promise<void> {
    if (isNew) this.#written.set(podUid, new Set());
    return this.#turn(podUid);
  }

  /** The pod's network is gone; another one is guarded alike. */
  detached(podUid: string): void {
    this.#written.delete(podUid);
  }

  /** The pod is gone. */
  forget(podUid: string): void {
    this.detached(podUid);
    this.#wanted.delete(podUid);
  }

  /** One write of a pod at a time; what was asked for meanwhile is seen by the next. */
  #turn(podUid: string): Promise<void> {
    const before = this.#turns.get(podUid) ?? Promise.resolve();
    const turn = before.catch(() => undefined).then(() => this.#write(podUid));
    this.#turns.set(podUid, turn);
    const done = (): void => {
      if (this.#turns.get(podUid) === turn) this.#turns.delete(podUid);
    };
    turn.then(done, done);
    return turn;
  }

  async #write(podUid: string): Promise<void> {
    const { run, exists, range } = this.#options;
    if (!exists(podUid)) return;
    const present = this.#written.get(podUid) ?? presentRoutes(await run(podUid, [`route show ${protocol}`]));
    const wanted = routesFor(range(), this.#wanted.get(podUid));
    const added = [...wanted].filter((route) => !present.has(route));
    const gone = [...present].filter((route) => !wanted.has(route));
    this.#written.delete(podUid);
    const lines = [
      ...ordered(added, false).map((route) => `route replace ${route} ${protocol}`),
      ...ordered(gone, true).map((route) => `route del ${route} ${protocol}`),
    ];
    if (lines.length > 0) await run(podUid, lines);
    this.#written.set(podUid, wanted);
  }
}

const isBarrier = (route: string): boolean => route.startsWith("blackhole ");

/** Ways in are opened before the barriers fall behind them, and taken away after those have gone. */
function ordered(routes: readonly string[], barriersFirst: boolean): string[] {
  const [barriers, ways] = [routes.filter(isBarrier), routes.filter((route) => !isBarrier(route))];
  return barriersFirst ? [...barriers, ...ways] : [...ways, ...barriers];
}

/** The halves of the range are narrower than the kernel's own route to it, single addresses are narrower still. */
function routesFor({ base, prefix, gateway }: GuardRange, callers: readonly string[] | undefined): Set<string> {
  if (callers === undefined) return new Set();
  const half = 2 ** (32 - prefix - 1);
  const first = addressToNumber(base);
  return new Set([
    ...[gateway, ...callers].map((ip) => `${ip} dev eth0`),
    ...[first, first + half].map((start) => `blackhole ${numberToAddress(start)}/${prefix + 1}`),
  ]);
}

function presentRoutes(shown: string): Set<string> {
  const routes = shown.split("\n").flatMap((line) => {
    const [first = "", second = ""] = line.trim().split(/\s+/);
    if (first === "") return [];
    return [first === "blackhole" ? `blackhole ${second}` : `${first} dev eth0`];
  });
  return new Set(routes);
}
