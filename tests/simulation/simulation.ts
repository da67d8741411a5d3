import { createHash, type Hash } from "node:crypto";
import { type Random, seededRandom, type VirtualClock, virtualClock } from "../../src/kernel/clock/index.js";
import { ClusterKind } from "../../src/modules/fleet/index.js";
import type { Ledger } from "../../src/stores/ledger/index.js";
import type { TestCluster } from "../../src/testing/index.js";
import { type HubParts, openHub, type Running } from "./hub.js";
import { type Life, Link, type Outage, type Weather } from "./link.js";
import { SimulatedMember, shareOf, type Written } from "./member.js";
import { Observer } from "./observer.js";
import {
  type ClusterGroup,
  msOf,
  type Scenario,
  type Selection,
  type TimelineEvent,
  type WeatherText,
} from "./scenario.js";
import { Workloads } from "./workloads.js";

const STEP_MS = 1000;
const KEPT_REPEATS = 10;
const MINUTE_MS = 60_000;
/** So long nothing may move once everything is as declared. */
const REST_MS = 30_000;
/** Outages that are shorter leave connections as they were. */
const KEEPS_STREAMS_MS = 15_000;

/** What a run of a scenario came to. Everything follows from scenario and seed. */
export interface Report {
  readonly scenario: string;
  readonly seed: number;
  readonly clusters: number;
  readonly works: number;
  /** Virtual time from the last event until everything was as declared; absent: it was not. */
  readonly convergedMs: number | undefined;
  readonly virtualMs: number;
  readonly memberRequests: number;
  readonly memberWrites: number;
  /** Writes that said again what was said, and heard, before. */
  readonly repeats: number;
  /** Revisions of the hub: its writes. */
  readonly hubWrites: number;
  /** Of every write to members with its time, and of everything in hub and members at the end. */
  readonly trace: string;
  /** Everything that is not as it should be. */
  readonly faults: readonly string[];
}

/** Carries a scenario out: a hub with the product's own server and controllers, members and a network that are simulated, all on virtual time. */
export async function runScenario(scenario: Scenario, seed: number = scenario.seed): Promise<Report> {
  const simulation = await Simulation.start(scenario, seed);
  try {
    return await simulation.run();
  } finally {
    await simulation.close();
  }
}

class Simulation {
  readonly #scenario: Scenario;
  readonly #seed: number;
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #trace: Hash;
  readonly #hub: TestCluster;
  readonly #hubs: Pick<HubParts, "start">;
  readonly #links = new Map<string, Link>();
  readonly #members = new Map<string, SimulatedMember>();
  readonly #tokens = new Map<string, string>();
  readonly #groupOf = new Map<string, string>();
  readonly #workloads: Workloads;
  readonly #observer: Observer;
  readonly #faults: string[] = [];
  readonly #repeated: string[] = [];
  /** Writes after everything was as declared. */
  readonly #late: string[] = [];
  #isResting = false;
  readonly #closing: Promise<void>[] = [];
  readonly #running = new Set<Running>();
  #started = 0;
  /** When the timeline begins: everybody has joined. */
  #beganMs = 0;

  static async start(scenario: Scenario, seed: number): Promise<Simulation> {
    const clock = virtualClock();
    const random = seededRandom(seed);
    const links = new Map<string, Link>();
    const trace = createHash("sha256");
    // Decisions about a thousand clusters are long: they are part of the trace, and not kept.
    const ledger: Ledger = {
      record: ({ about, topic, rule }) => trace.update(`decided ${about.kind} ${about.name} ${topic} ${rule}\n`),
      query: async () => [],
      flush: async () => {},
      close: async () => {},
    };
    const hub = await openHub({ scenario, clock, random, links, ledger });
    return new Simulation({ scenario, seed, clock, random, links, trace, ...hub });
  }

  private constructor(parts: {
    scenario: Scenario;
    seed: number;
    clock: VirtualClock;
    random: Random;
    links: Map<string, Link>;
    trace: Hash;
    cluster: TestCluster;
    start: HubParts["start"];
  }) {
    this.#scenario = parts.scenario;
    this.#seed = parts.seed;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#links = parts.links;
    this.#trace = parts.trace;
    this.#hub = parts.cluster;
    this.#hubs = parts;
    this.#workloads = new Workloads(parts.cluster.client);
    this.#observer = new Observer(parts.cluster, this.#members, parts.clock);
  }

  async run(): Promise<Report> {
    const { clusters, workloads, timeline, expect } = this.#scenario;
    await this.#observer.synced();
    this.#tick();
    for (const group of clusters) await this.#join(group);
    for (let hub = 0; hub < this.#scenario.hubs; hub += 1) this.#startHub();
    await this.#joined();
    for (const group of workloads) await this.#workloads.add(group, [...this.#members.keys()]);
    for (const event of [...timeline].sort((a, b) => msOf(a.at) - msOf(b.at))) {
      await this.#advanceTo(this.#beganMs + msOf(event.at));
      await this.#happen(event);
    }
    const ends = timeline.flatMap((event) => endsOf(event));
    await this.#advanceTo(this.#beganMs + Math.max(0, ...ends));
    const convergedMs = await this.#converge(msOf(expect.convergedWithin));
    if (convergedMs !== undefined) await this.#rest();
    return this.#report(convergedMs);
  }

  async close(): Promise<void> {
    for (const running of this.#running) this.#closing.push(running.close());
    this.#running.clear();
    const closed = Promise.all(this.#closing).then(() => this.#hub.close());
    let isClosed = false;
    void closed.finally(() => {
      isClosed = true;
    });
    for (let step = 0; step < 20 && !isClosed; step += 1) await this.#clock.advance(10_000);
    await closed;
  }

  /** All clusters are said to be ready; then the timeline begins. */
  async #joined(): Promise<void> {
    await this.#clock.runUntil(() => this.#observer.notReady === 0, MINUTE_MS);
    await this.#clock.advance(STEP_MS);
    this.#beganMs = this.#clock.monotonicMs();
  }

  async #advanceTo(ms: number): Promise<void> {
    for (;;) {
      const leftMs = ms - this.#clock.monotonicMs();
      if (leftMs <= 0) return;
      await this.#clock.advance(Math.min(STEP_MS, leftMs));
      this.#observer.checkClusters();
    }
  }

  /** Virtual time until everything is as declared. */
  async #converge(limitMs: number): Promise<number | undefined> {
    const beganMs = this.#clock.monotonicMs();
    for (;;) {
      this.#observer.unapplied = this.#scenario.expect.unapplied;
      const gaps = this.#observer.gaps(this.#workloads.wanted);
      const passedMs = this.#clock.monotonicMs() - beganMs;
      if (gaps.length === 0) return passedMs;
      if (passedMs >= limitMs) {
        this.#faults.push(...gaps.slice(0, 10).map((gap) => `after ${passedMs} ms: ${gap}`));
        return undefined;
      }
      await this.#advanceTo(this.#clock.monotonicMs() + STEP_MS);
    }
  }

  /** Nothing moves any more: what converged stays, and nothing more is written to members. */
  async #rest(): Promise<void> {
    const before = this.#writes();
    this.#isResting = true;
    await this.#advanceTo(this.#clock.monotonicMs() + REST_MS);
    const more = this.#writes() - before;
    if (more > 0)
      this.#faults.push(`${more} writes to members after everything was as declared: ${this.#late.join("; ")}`);
    this.#faults.push(...this.#observer.gaps(this.#workloads.wanted).map((gap) => `after it was as declared: ${gap}`));
  }

  #writes(): number {
    return sum(this.#members.values(), ({ writes }) => writes);
  }

  async #report(convergedMs: number | undefined): Promise<Report> {
    const { expect } = this.#scenario;
    const members = [...this.#members.values()];
    const works = this.#observer.works;
    const repeats = sum(members, (member) => member.repeats);
    const memberWrites = this.#writes();
    if (repeats > expect.repeats)
      this.#faults.push(
        `${repeats} writes said again what was said and heard; at most ${expect.repeats} may`,
        ...this.#repeated,
      );
    if (expect.works !== undefined && works.length < expect.works)
      this.#faults.push(`there are ${works.length} works instead of ${expect.works}`);
    const flaps = sum(members, (member) => member.flaps);
    if (flaps > 0) this.#faults.push(`${flaps} writes gave objects back what they had had before`);
    const perWork = memberWrites / Math.max(1, works.length);
    if (expect.requestsPerWork !== undefined && perWork > expect.requestsPerWork)
      this.#faults.push(`${perWork} writes for each Work; at most ${expect.requestsPerWork} may be`);
    if (this.#observer.lieCount > 0)
      this.#faults.push(`${this.#observer.lieCount} statuses said what was not so`, ...this.#observer.lies);
    for (const member of members) this.#trace.update(`${member.name} ${member.hash()}\n`);
    for (const work of works) this.#trace.update(`${JSON.stringify(work)}\n`);
    return {
      scenario: this.#scenario.name,
      seed: this.#seed,
      clusters: members.length,
      works: works.length,
      convergedMs,
      virtualMs: this.#clock.monotonicMs(),
      memberRequests: sum(members, ({ requests }) => requests),
      memberWrites,
      repeats,
      hubWrites: this.#hub.server.revision,
      trace: this.#trace.digest("hex"),
      faults: this.#faults,
    };
  }

  #tick(): void {
    this.#clock.setTimer(MINUTE_MS, () => {
      for (const member of this.#members.values()) member.tick();
      this.#tick();
    });
  }

  #startHub(): void {
    const token = (member: string): string => this.#tokens.get(member) ?? "";
    const life: Life = { isAlive: true, isDeaf: false, isLeading: false, token };
    this.#started += 1;
    const identity = `hub-${this.#started}`;
    this.#running.add(this.#hubs.start(life, identity, (isLeading) => this.#lead(life, isLeading)));
  }

  #lead(life: Life, isLeading: boolean): void {
    life.isLeading = isLeading;
    if (!isLeading || life.isDeaf) return;
    // What another carried out and did not record is carried out again: that is no repetition.
    for (const member of this.#members.values()) member.forgetHeard();
    this.#observer.hubSinceMs = this.#clock.monotonicMs();
  }

  /** Those whose controllers are at work; while nobody's are, any. */
  #leader(): Running | undefined {
    const all = [...this.#running];
    return all.find(({ life }) => life.isLeading && !life.isDeaf) ?? all[0];
  }

  async #join(group: ClusterGroup): Promise<void> {
    const weather = weatherOf(group.network ?? this.#scenario.network);
    for (let index = 0; index < group.count; index += 1) {
      const name = `${group.name}-${index}`;
      const member = new SimulatedMember({
        name,
        clock: this.#clock,
        skewMs: msOf(group.skew),
        readyAfterMs: msOf(group.readyAfter),
        nodes: nodesOf(group),
        onWritten: (written) => this.#note(written),
      });
      const random = seededRandom(Math.floor(shareOf(`${this.#seed} ${name}`) * 2 ** 32));
      this.#members.set(name, member);
      this.#tokens.set(name, member.token);
      this.#groupOf.set(name, group.name);
      this.#links.set(
        name,
        new Link({ member, clock: this.#clock, random, weather, gridMs: msOf(this.#scenario.grid) }),
      );
      this.#observer.setReachable(name, true);
      await this.#hub.client.resource(ClusterKind).create({
        apiVersion: "cluster.karmada.io/v1alpha1",
        kind: "Cluster",
        metadata: { name, labels: { ...group.labels, group: group.name } },
        spec: {
          syncMode: "Push",
          ...(group.provider === undefined ? {} : { provider: group.provider }),
          ...(group.region === undefined ? {} : { region: group.region }),
          ...(group.zones === undefined ? {} : { zones: [`${group.region ?? group.name}-${index % group.zones}`] }),
        },
      });
    }
  }

  #note({ member, line, isRepeat }: Written): void {
    const text = `${this.#clock.monotonicMs()} ${member} ${line}`;
    this.#trace.update(`${text}\n`);
    if (this.#isResting && this.#late.length < KEPT_REPEATS) this.#late.push(text);
    if (isRepeat && this.#repeated.length < KEPT_REPEATS) this.#repeated.push(text);
  }

  /** The links of a selection's clusters. */
  #pick(selection: Selection): Link[] {
    const links = [...this.#links.values()].filter(
      ({ member }) => selection.of === undefined || this.#groupOf.get(member.name) === selection.of,
    );
    return this.#some(links, selection);
  }

  #some<T>(list: readonly T[], { share, count }: Selection): T[] {
    const wanted = count ?? (share === undefined ? list.length : Math.round(list.length * share));
    const rest = [...list];
    const taken: T[] = [];
    while (taken.length < wanted && rest.length > 0) taken.push(...rest.splice(this.#random.int(rest.length), 1));
    return taken;
  }

  async #happen(event: TimelineEvent): Promise<void> {
    this.#breakWays(event);
    this.#spoil(event);
    await this.#changeFleet(event);
    const { add, change, remove, look } = event;
    const names = [...this.#members.keys()];
    if (add !== undefined) await this.#workloads.add(add, names);
    if (change !== undefined) await this.#workloads.change(this.#pickWorkloads(change), names);
    if (remove !== undefined) await this.#workloads.remove(this.#pickWorkloads(remove));
    if (look !== undefined) this.#look(event.at, look);
  }

  #pickWorkloads(selection: Selection): string[] {
    const names = this.#workloads.names.filter(
      (name) => selection.of === undefined || name.startsWith(`${selection.of}/`),
    );
    return this.#some(names, selection);
  }

  /** Does something to links, and undoes it after a while. */
  #during(what: Selection & { readonly for?: string }, begin: (link: Link) => void, end: (link: Link) => void): void {
    const links = this.#pick(what);
    for (const link of links) begin(link);
    if (what.for === undefined) return;
    this.#clock.setTimer(msOf(what.for), () => {
      for (const link of links) end(link);
    });
  }

  #breakWays({ cut, freeze }: TimelineEvent): void {
    const lose = (link: Link, how: Outage): void => {
      link.cut(how);
      this.#observer.setReachable(link.member.name, false);
    };
    const heal = (link: Link, lasted: string | undefined): void => {
      link.heal(lasted !== undefined && msOf(lasted) < KEEPS_STREAMS_MS);
      this.#observer.setReachable(link.member.name, true);
    };
    if (cut !== undefined)
      this.#during(
        cut,
        (link) => lose(link, cut.how),
        (link) => heal(link, cut.for),
      );
    if (freeze !== undefined)
      this.#during(
        freeze,
        (link) => {
          link.member.isFrozen = true;
          lose(link, "silent");
        },
        (link) => {
          link.member.isFrozen = false;
          heal(link, freeze.for);
        },
      );
  }

  #spoil({ slow, lose, confuse, refuse, meddle }: TimelineEvent): void {
    if (slow !== undefined)
      this.#during(
        slow,
        (link) => {
          link.delayMs = msOf(slow.by);
        },
        (link) => {
          link.delayMs = 0;
        },
      );
    if (lose !== undefined) {
      const before = new Map([...this.#links.values()].map((link) => [link, link.weather]));
      this.#during(
        lose,
        (link) => {
          link.weather = { ...link.weather, loss: lose.loss };
          this.#observer.setDoubtful(link.member.name, true);
        },
        (link) => {
          link.weather = before.get(link) ?? link.weather;
          this.#observer.setDoubtful(link.member.name, false);
        },
      );
    }
    if (confuse !== undefined)
      this.#during(
        confuse,
        (link) => {
          link.wrong = confuse.answers;
          this.#observer.setDoubtful(link.member.name, true);
        },
        (link) => {
          link.wrong = 0;
          this.#observer.setDoubtful(link.member.name, false);
        },
      );
    if (refuse !== undefined)
      this.#during(
        refuse,
        ({ member }) => {
          member.refusal = { share: refuse.manifests, status: refuse.status };
        },
        ({ member }) => {
          member.refusal = undefined;
        },
      );
    if (meddle === undefined) return;
    this.#observer.meddledUntilMs = this.#clock.monotonicMs() + MINUTE_MS;
    for (const { member } of this.#pick(meddle))
      member.meddle((name) => shareOf(`${this.#seed} ${name}`) < meddle.objects, meddle.how);
  }

  async #changeFleet({ killHub, deafen, join, leave, label, rotate }: TimelineEvent): Promise<void> {
    const clusters = this.#hub.client.resource(ClusterKind);
    if (killHub !== undefined) this.#killHub(msOf(killHub.for));
    if (deafen !== undefined) this.#deafen(deafen.for);
    if (join !== undefined) await this.#join(join);
    for (const { member } of leave === undefined ? [] : this.#pick(leave)) {
      this.#links.delete(member.name);
      await clusters.delete(member.name);
    }
    for (const { member } of label === undefined ? [] : this.#pick(label))
      await clusters.patch(member.name, "merge", { metadata: { labels: label?.labels ?? {} } });
    if (rotate === undefined) return;
    for (const { member } of this.#pick(rotate)) {
      member.token = `${Number(member.token) + 1}`;
      // Who is not let in sees nothing of it either.
      this.#observer.setReachable(member.name, false);
      this.#clock.setTimer(msOf(rotate.after), () => {
        this.#tokens.set(member.name, member.token);
        this.#observer.setReachable(member.name, true);
      });
    }
  }

  #deafen(lasting: string | undefined): void {
    const life = this.#leader()?.life;
    if (life === undefined) return;
    life.isDeaf = true;
    this.#observer.hubSinceMs = undefined;
    if (lasting === undefined) return;
    this.#clock.setTimer(msOf(lasting), () => {
      life.isDeaf = false;
      if (life.isLeading) this.#lead(life, true);
    });
  }

  #killHub(forMs: number): void {
    const running = this.#leader();
    if (running === undefined) return;
    running.life.isAlive = false;
    this.#observer.hubSinceMs = undefined;
    for (const link of this.#links.values()) link.drop(running.life);
    // What was carried out and not recorded is carried out again by the next: that is no repetition.
    for (const member of this.#members.values()) member.forgetHeard();
    this.#closing.push(running.close());
    this.#running.delete(running);
    if (forMs === 0) this.#startHub();
    else this.#clock.setTimer(forMs, () => this.#startHub());
  }

  #look(at: string, look: NonNullable<TimelineEvent["look"]>): void {
    const { notReady, applied } = look;
    const observer = this.#observer;
    if (notReady !== undefined && observer.notReady !== notReady)
      this.#faults.push(`at ${at}: ${observer.notReady} Clusters are not ready instead of ${notReady}`);
    if (applied === undefined) return;
    const share = observer.applied / Math.max(1, observer.works.length);
    if (share < applied.min || share > applied.max)
      this.#faults.push(`at ${at}: ${share} of the works are applied instead of ${applied.min} to ${applied.max}`);
  }
}

function weatherOf({ latency, jitter, loss }: WeatherText): Weather {
  return { latencyMs: msOf(latency), jitterMs: msOf(jitter), loss };
}

function nodesOf({ nodes, capacity }: ClusterGroup) {
  return Array.from({ length: nodes }, (_, index) => ({
    metadata: { name: `node-${index}` },
    status: {
      allocatable: capacity,
      capacity,
      conditions: [
        { type: "Ready", status: "True", reason: "Simulated", message: "", lastTransitionTime: "2026-01-01T00:00:00Z" },
      ],
    },
  }));
}

/** When what an event does begins and ends. */
function endsOf({ at, ...actions }: TimelineEvent): number[] {
  return [
    msOf(at),
    ...Object.values(actions).flatMap((action) => {
      const { for: lasting, after } = (action ?? {}) as { for?: string; after?: string };
      return [lasting, after].filter((text) => text !== undefined).map((text) => msOf(at) + msOf(text));
    }),
  ];
}

function sum<T>(list: Iterable<T>, value: (item: T) => number): number {
  let total = 0;
  for (const item of list) total += value(item);
  return total;
}
