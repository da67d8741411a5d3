/**
 * How much one user may ask for. In: who asks for what. Out: leave to go on, or how long to wait (429). A user is held to a
 * number of requests a second, and to a fair part of what may be under way at once; what a request holds is given back when
 * its answer is out. May use: the API server's types; kernel clock.
 */
import type { Clock } from "../../../kernel/clock/index.js";
import type { RequestInfo, UserInfo } from "../types.js";

export interface LimitOptions {
  /** Requests a second of one user; twice as many may come at once. 0: any number. */
  readonly requestsPerSecond: number;
  /** Requests that only read, of all users, under way at once. 0: any number. */
  readonly readOnly: number;
  /** Requests that write, of all users, under way at once. 0: any number. */
  readonly mutating: number;
}

/** Far above what people and controllers ask for; a program that runs wild reaches them. */
export const defaultLimits: LimitOptions = { requestsPerSecond: 5000, readOnly: 800, mutating: 400 };

/** Answers that slow clients have not taken yet: above this many bytes nothing more is read. */
const maxHeldBytes = 1024 * 1024 * 1024;
const maxIdleUsers = 10_000;

/** A request that was let in. */
export interface Ticket {
  /** Its answer waits to be sent. */
  holds(bytes: number): void;
  /** The answer is out, or nobody waits for it any more; may be called again. */
  leave(): void;
}

export interface Limits {
  /** Counts the request: a ticket to give back, nothing for requests that do not count, or the seconds to wait. */
  enter(user: UserInfo, info: RequestInfo): Ticket | number | undefined;
}

interface Share {
  tokens: number;
  /** Milliseconds, when `tokens` was right. */
  at: number;
  readOnly: number;
  mutating: number;
}

/** Limits over all users of one server. */
export function createLimits(options: LimitOptions, clock: Clock): Limits {
  return new FairLimits(options, clock);
}

class FairLimits implements Limits {
  readonly #options: LimitOptions;
  readonly #clock: Clock;
  readonly #shares = new Map<string, Share>();
  readonly #underWay = { readOnly: 0, mutating: 0 };
  #heldBytes = 0;

  constructor(options: LimitOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  enter(user: UserInfo, info: RequestInfo): Ticket | number | undefined {
    if (isExempt(user, info)) return undefined;
    const share = this.#shareOf(user.username);
    const wait = this.#take(share);
    if (wait > 0) return wait;
    const kind = isReadOnly(info.verb) ? "readOnly" : "mutating";
    const limit = this.#options[kind];
    // What one user may hold shrinks with what is left, so that something is always left for another.
    if (limit > 0 && share[kind] >= limit - this.#underWay[kind]) return 1;
    if (kind === "readOnly" && this.#heldBytes > maxHeldBytes) return 1;
    return this.#admit(share, kind);
  }

  #admit(share: Share, kind: "readOnly" | "mutating"): Ticket {
    share[kind] += 1;
    this.#underWay[kind] += 1;
    let held = 0;
    let isOver = false;
    return {
      holds: (bytes) => {
        if (isOver) return;
        held += bytes;
        this.#heldBytes += bytes;
      },
      leave: () => {
        if (isOver) return;
        isOver = true;
        share[kind] -= 1;
        this.#underWay[kind] -= 1;
        this.#heldBytes -= held;
      },
    };
  }

  /** Takes one of the user's requests; the whole seconds to wait for the next where there is none. */
  #take(share: Share): number {
    const { requestsPerSecond } = this.#options;
    if (requestsPerSecond === 0) return 0;
    const now = this.#clock.monotonicMs();
    share.tokens = Math.min(2 * requestsPerSecond, share.tokens + ((now - share.at) / 1000) * requestsPerSecond);
    share.at = now;
    if (share.tokens < 1) return Math.max(1, Math.ceil((1 - share.tokens) / requestsPerSecond));
    share.tokens -= 1;
    return 0;
  }

  #shareOf(username: string): Share {
    const known = this.#shares.get(username);
    if (known !== undefined) return known;
    if (this.#shares.size >= maxIdleUsers) this.#forgetIdle();
    const share = {
      tokens: 2 * this.#options.requestsPerSecond,
      at: this.#clock.monotonicMs(),
      readOnly: 0,
      mutating: 0,
    };
    this.#shares.set(username, share);
    return share;
  }

  /** Users who ask for nothing now and have a full share again. */
  #forgetIdle(): void {
    const fullAfterMs = 2000;
    const now = this.#clock.monotonicMs();
    for (const [username, share] of this.#shares) {
      if (share.readOnly === 0 && share.mutating === 0 && now - share.at > fullAfterMs) this.#shares.delete(username);
    }
  }
}

const longRunning = new Set(["attach", "exec", "proxy", "log", "portforward"]);

/** A watch or stream: open for as long as the client likes. */
export function isLongRunning(info: RequestInfo): boolean {
  return info.verb === "watch" || (info.isResource && longRunning.has(info.subresource.split("/")[0] ?? ""));
}

function isReadOnly(verb: string): boolean {
  return verb === "get" || verb === "list" || verb === "head" || verb === "options";
}

function isExempt(user: UserInfo, info: RequestInfo): boolean {
  if (user.groups.includes("system:masters") || isLongRunning(info)) return true;
  return !info.isResource && /^\/(healthz|livez|readyz)(\/|$)/.test(info.path);
}
