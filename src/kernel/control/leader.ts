import { setMaxListeners } from "node:events";
import type { ApiClient } from "../client/index.js";
import type { Clock, Random } from "../clock/index.js";
import { isAlreadyExists, isConflict, messageOf } from "../errors/index.js";
import { type Lease, LeaseKind } from "../kinds/index.js";
import type { Logger } from "../log/index.js";

/** Which lease, and how patient. Defaults are client-go's. */
export interface LeaderElectionOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly namespace: string;
  readonly name: string;
  /** Differs for each candidate. */
  readonly identity: string;
  /** Others take over this long after they saw the last renewal; default 15 s. */
  readonly leaseDurationMs?: number;
  /** The leader resigns when it could not renew for this long; default 10 s. */
  readonly renewDeadlineMs?: number;
  /** Time between attempts; default 2 s. */
  readonly retryMs?: number;
  /** Told whenever somebody else is seen to lead (`holder`), or this candidate begins to (`undefined`). */
  readonly onLeader?: (holder: string | undefined) => void;
}

/** A candidate. */
export interface LeaderElection {
  /** Runs `lead` while leading, again after each loss, until the signal is aborted; then gives the lease back. `lead` must end when its signal is aborted. */
  run(lead: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void>;
  readonly isLeader: boolean;
}

const microTime = (ms: number): string => `${new Date(ms).toISOString().slice(0, 23)}000Z`;

/** Election by a coordination.k8s.io/v1 Lease. Clocks of candidates need not agree: each counts from when it saw a renewal. */
export function createLeaderElection(options: LeaderElectionOptions): LeaderElection {
  return new Candidate(options);
}

/** What came of one attempt: the lease is held, another holds it, or nobody knows. */
type Attempt = "held" | "taken" | "failed";

class Candidate implements LeaderElection {
  readonly #options: Required<LeaderElectionOptions>;
  #told: string | undefined;
  #seen: { readonly version: string; readonly atMs: number } | undefined;
  #isLeader = false;

  constructor(options: LeaderElectionOptions) {
    this.#options = {
      leaseDurationMs: 15_000,
      renewDeadlineMs: 10_000,
      retryMs: 2_000,
      onLeader: () => {},
      ...options,
    };
  }

  get isLeader(): boolean {
    return this.#isLeader;
  }

  async run(lead: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
    const { clock, random, retryMs, log, name, identity } = this.#options;
    while (!signal.aborted) {
      if ((await this.#tryAcquire(signal)) !== "held") {
        await clock.sleep(retryMs * (1 + 0.2 * random.next()), signal).catch(() => undefined);
        continue;
      }
      log.info("leading", { lease: name, identity });
      this.#tell(undefined);
      const term = new AbortController();
      // One listener for each thing that runs: no leak.
      setMaxListeners(0, term.signal);
      this.#isLeader = true;
      const leading = lead(term.signal);
      await this.#keep(signal);
      this.#isLeader = false;
      term.abort();
      await leading;
      if (signal.aborted) await this.#release();
    }
  }

  #tell(holder: string | undefined): void {
    const { log, name, identity, onLeader } = this.#options;
    if (holder !== undefined && holder === this.#told) return;
    this.#told = holder;
    if (holder !== undefined) log.info("another leads", { lease: name, identity, holder });
    onLeader(holder);
  }

  async #tryAcquire(signal: AbortSignal): Promise<Attempt> {
    const { log, name } = this.#options;
    try {
      return (await this.#acquire(signal)) ? "held" : "taken";
    } catch (error) {
      if (!isConflict(error) && !isAlreadyExists(error) && !signal.aborted) {
        log.debug("lease attempt failed", { lease: name, reason: messageOf(error) });
      }
      return "failed";
    }
  }

  /** One attempt to get or keep the lease. */
  async #acquire(signal: AbortSignal): Promise<boolean> {
    const { client, clock, namespace, name } = this.#options;
    const leases = client.resource(LeaseKind);
    const current = await leases.find(name, { namespace, signal });
    if (current === undefined) {
      const spec = this.#specAfter(undefined);
      await leases.create(
        { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name, namespace }, spec },
        { signal },
      );
      return true;
    }
    const version = current.metadata.resourceVersion;
    if (this.#seen?.version !== version) this.#seen = { version, atMs: clock.monotonicMs() };
    if (this.#isHeldByOther(current, clock.monotonicMs() - this.#seen.atMs)) {
      this.#tell(current.spec.holderIdentity ?? "");
      return false;
    }
    await leases.update({ ...current, spec: this.#specAfter(current) }, { signal });
    return true;
  }

  #isHeldByOther(lease: Lease, unchangedMs: number): boolean {
    const { holderIdentity = "", leaseDurationSeconds = 0 } = lease.spec;
    return (
      holderIdentity !== "" && holderIdentity !== this.#options.identity && unchangedMs < leaseDurationSeconds * 1000
    );
  }

  #specAfter(current: Lease | undefined): Lease["spec"] {
    const { clock, identity, leaseDurationMs } = this.#options;
    const now = microTime(clock.now());
    const transitions = current?.spec.leaseTransitions ?? 0;
    const isKept = current?.spec.holderIdentity === identity;
    return {
      ...current?.spec,
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(leaseDurationMs / 1000),
      renewTime: now,
      acquireTime: isKept ? (current.spec.acquireTime ?? now) : now,
      leaseTransitions: isKept || current === undefined ? transitions : transitions + 1,
    };
  }

  /** Renews until the signal is aborted, another holds the lease, or the deadline passes without success. */
  async #keep(signal: AbortSignal): Promise<void> {
    const { clock, log, name, identity, renewDeadlineMs, retryMs } = this.#options;
    let renewedMs = clock.monotonicMs();
    while (!signal.aborted && clock.monotonicMs() - renewedMs < renewDeadlineMs) {
      await clock.sleep(retryMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      const attempt = new AbortController();
      const timer = clock.setTimer(Math.max(renewDeadlineMs - (clock.monotonicMs() - renewedMs), 0), () =>
        attempt.abort(),
      );
      const came = await this.#tryAcquire(attempt.signal);
      if (came === "held") renewedMs = clock.monotonicMs();
      timer.cancel();
      // Who took it works already.
      if (came === "taken") break;
    }
    if (!signal.aborted) log.warn("lost the lease", { lease: name, identity });
  }

  /** Gives the lease back, so that the next candidate need not wait it out. */
  async #release(): Promise<void> {
    const { client, log, namespace, name, identity } = this.#options;
    const leases = client.resource(LeaseKind);
    try {
      const current = await leases.find(name, { namespace });
      if (current?.spec.holderIdentity !== identity) return;
      await leases.update({ ...current, spec: { ...current.spec, holderIdentity: "", leaseDurationSeconds: 1 } });
    } catch (error) {
      log.debug("lease not given back", { lease: name, reason: messageOf(error) });
    }
  }
}
