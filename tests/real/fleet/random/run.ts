import { setTimeout as sleep } from "node:timers/promises";
import type { JsonObject } from "../../../../src/kernel/kinds/object.js";
import { asObject, asString } from "../../../../src/kernel/schema/index.js";
import { type View, Watcher } from "./look.js";
import { type FleetSide, isOdd, type SteeredRandom } from "./sides.js";
import { type Batch, type Finding, type FleetCase, PHASES, WORLD_PHASE, type World, type Write } from "./types.js";
import { carryOut } from "./writes.js";

/** The two fleets. */
export interface Pair {
  readonly real: FleetSide;
  readonly own: FleetSide;
  /** Chance of our hub. */
  readonly random: SteeredRandom;
}

/** Nothing changed for so long, and both are alike. */
const REST_MS = 2500;
/** Nothing changed for so long, and they are not alike. */
const STUCK_MS = 12_000;
const LIMIT_MS = 90_000;

/** Policies that come and go one after the other are told apart: what comes in between is a matter of moments. */
const APART_MS = 1500;

/** What only one of two has. */
export const difference = (real: readonly string[] = [], own: readonly string[] = []): string[] => [
  ...real.filter((line) => !own.includes(line)).map((line) => `- ${line}`),
  ...own.filter((line) => !real.includes(line)).map((line) => `+ ${line}`),
];

/** Whether what differs after a phase of a case is known, and well. */
export type IsAlike = (fleetCase: FleetCase, phase: number, lines: readonly string[]) => boolean;

/** A batch under way. */
export class Run {
  readonly #pair: Pair;
  readonly #batch: Batch;
  readonly #isAlike: IsAlike;
  readonly #findings: Finding[] = [];
  /** Refusals of writes, by namespace, of each side. */
  readonly #refusals = { real: new Map<string, string[]>(), own: new Map<string, string[]>() };
  #live: FleetCase[];
  /** Our hub makes one template at a time, with an identifier that decides as the real one's. */
  #making: Promise<unknown> = Promise.resolve();

  constructor(pair: Pair, batch: Batch, isAlike: IsAlike) {
    this.#pair = pair;
    this.#batch = batch;
    this.#isAlike = isAlike;
    this.#live = [...batch.cases];
  }

  /** Plays all phases; a case that differs goes no further. */
  async play(): Promise<Finding[]> {
    const { real, own } = this.#pair;
    const watchers = [new Watcher(real, this.#batch.cases), new Watcher(own, this.#batch.cases)] as const;
    await this.#enter(this.#batch.worlds[0]);
    await Promise.all(this.#batch.cases.map((one) => this.#makeNamespace(one.namespace)));
    for (const phase of PHASES.keys()) {
      if (phase === WORLD_PHASE) await this.#enter(this.#batch.worlds[1]);
      await Promise.all(this.#live.map((one) => this.#write(one, one.phases[phase] ?? [])));
      await this.#settle(watchers, phase);
      if (!real.isAlive()) throw new Error("a program of Karmada's ended");
      if (this.#live.length === 0) break;
    }
    await Promise.all(this.#batch.cases.map((one) => this.#clean(one)));
    return this.#findings;
  }

  async #makeNamespace(name: string): Promise<void> {
    const create = { apiVersion: "v1", kind: "Namespace", metadata: { name } };
    await Promise.all([this.#pair.real, this.#pair.own].map((side) => carryOut(side, name, { create })));
  }

  /** Gives members and their Clusters what the world says. */
  async #enter(world: World): Promise<void> {
    const ref = (name: string, apiVersion: string, kind: string) => ({ apiVersion, kind, name });
    const writes = Object.keys(world.clusters).flatMap((name): Write[] => [
      { patch: ref(name, "cluster.karmada.io/v1alpha1", "Cluster"), with: world.clusters[name] ?? {} },
      ...(world.nodes[name] ?? []).map((room, index): Write => {
        const conditions = [{ type: "Ready", status: "True", reason: "Fake", message: "fake node" }];
        const status = { capacity: room, allocatable: room, conditions };
        return { on: name, patch: ref(`node${index + 1}`, "v1", "Node"), with: { status }, isStatus: true };
      }),
    ]);
    for (const side of [this.#pair.real, this.#pair.own])
      for (const write of writes) {
        const answer = await carryOut(side, "", write);
        if ("refusal" in answer) throw new Error(`${side.name} refuses a world: ${answer.refusal}`);
      }
    await this.#knowRoom(world);
  }

  /** Hubs look at members now and then. */
  async #knowRoom({ nodes }: World): Promise<void> {
    for (const end = Date.now() + 60_000; Date.now() < end; await sleep(300)) {
      const waits = [this.#pair.real, this.#pair.own].map(async ({ hub }) => {
        const { items } = asObject(await hub.json("GET", "/apis/cluster.karmada.io/v1alpha1/clusters"));
        return (Array.isArray(items) ? items : []).map(asObject).every((item) => knows(item, nodes));
      });
      if ((await Promise.all(waits)).every(Boolean)) return;
    }
    throw new Error("a hub does not see its members' nodes");
  }

  async #write(fleetCase: FleetCase, writes: readonly Write[]): Promise<void> {
    const { namespace } = fleetCase;
    for (const [index, write] of writes.entries()) {
      if (isOfPolicy(write) && writes.slice(0, index).some(isOfPolicy)) await sleep(APART_MS);
      const first = await carryOut(this.#pair.real, namespace, write);
      const uid = "object" in first ? asString(asObject(first.object["metadata"])["uid"]) : "";
      const second = await this.#steered(uid, write, () => carryOut(this.#pair.own, namespace, write));
      if ("refusal" in first) this.#refuse("real", namespace, first.refusal);
      if ("refusal" in second) this.#refuse("own", namespace, second.refusal);
    }
  }

  #refuse(side: "real" | "own", namespace: string, message: string): void {
    const said = message.replace(/admission webhook "[^"]+" denied the request: /, "");
    const list = this.#refusals[side].get(namespace) ?? [];
    list.push(`refused ${list.length + 1}: ${said}`);
    this.#refusals[side].set(namespace, list);
  }

  #steered<T>(uid: string, write: Write, make: () => Promise<T>): Promise<T> {
    if (write.create === undefined || write.on !== undefined || uid === "") return make();
    const made = this.#making.then(async () => {
      this.#pair.random.isOdd = isOdd(uid);
      try {
        return await make();
      } finally {
        this.#pair.random.isOdd = undefined;
      }
    });
    this.#making = made.catch(() => undefined);
    return made;
  }

  /** Looks until nothing changes any more. */
  async #settle(watchers: readonly [Watcher, Watcher], phase: number): Promise<void> {
    const began = Date.now();
    let [before, since] = ["", began];
    for (;;) {
      const [real, own] = await Promise.all([watchers[0].look(), watchers[1].look()]);
      const now = JSON.stringify([[...real], [...own]]);
      if (now !== before) [before, since] = [now, Date.now()];
      const differing = this.#differing(real, own, phase);
      const rested = Date.now() - since;
      const isOver = rested > (differing.length === 0 ? REST_MS : STUCK_MS) || Date.now() - began > LIMIT_MS;
      if (isOver) {
        this.#findings.push(...differing);
        this.#live = this.#live.filter((one) => !differing.some(({ fleetCase }) => fleetCase === one));
        return;
      }
      await sleep(500);
    }
  }

  #differing(real: View, own: View, phase: number): Finding[] {
    const common = difference(real.get(""), own.get(""));
    return this.#live.flatMap((fleetCase) => {
      const { namespace } = fleetCase;
      const refused = difference(this.#refusals.real.get(namespace), this.#refusals.own.get(namespace));
      const lines = [...refused, ...difference(real.get(namespace), own.get(namespace)), ...common];
      return lines.length === 0 || this.#isAlike(fleetCase, phase, lines) ? [] : [{ fleetCase, phase, lines }];
    });
  }

  /** Takes away what a case made and did not remove. */
  async #clean({ namespace, phases }: FleetCase): Promise<void> {
    const made = phases.flat().flatMap(({ create, on }) => (create === undefined || on !== undefined ? [] : [create]));
    for (const side of [this.#pair.real, this.#pair.own])
      for (const { apiVersion, kind, metadata } of made) {
        const name = asString(asObject(metadata)["name"]);
        await carryOut(side, namespace, { remove: { apiVersion: asString(apiVersion), kind: asString(kind), name } });
      }
  }
}

/** Whether a write makes or removes a policy that takes templates. */
function isOfPolicy({ create, remove }: Write): boolean {
  const kind = asString(create?.["kind"]) || (remove?.kind ?? "");
  return kind === "PropagationPolicy" || kind === "ClusterPropagationPolicy";
}

function knows(cluster: JsonObject, nodes: World["nodes"]): boolean {
  const rooms = nodes[asString(asObject(cluster["metadata"])["name"])] ?? [];
  const { nodeSummary, resourceSummary } = asObject(cluster["status"]);
  const { cpu } = asObject(asObject(resourceSummary)["allocatable"]);
  const sum = rooms.reduce((total, room) => total + Number(asString(room["cpu"])), 0);
  return asObject(nodeSummary)["readyNum"] === rooms.length && Number(asString(cpu)) === sum;
}
