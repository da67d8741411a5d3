import type { ApiClient } from "../../../kernel/client/index.js";
import type { Clock } from "../../../kernel/clock/index.js";
import { ConfigMapKind } from "../../../kernel/kinds/index.js";
import { executionSpaceOf } from "../names.js";
import { ASKED, FIGURES, isSameService, readAnswer, type ServiceFigures, TOLD, writeQuestion } from "./figures.js";
import type { PodCounts, WatchedService } from "./model-servers.js";
import { GateError } from "./prometheus.js";

/** An agent stops to tell when it was not asked again for three times as long. */
const ASK_AGAIN_MS = 60_000;
/** An agent tells every 5 s. */
const SILENT_MS = 20_000;

/** The hub, for one look. */
export interface HubSide {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** What is asked of one cluster. */
interface Asking {
  /** Who wants to know: rollout → services. */
  readonly wants: Map<string, readonly WatchedService[]>;
  /** Of questions that ask for all that is wanted now. */
  marks: Set<string>;
  text: string;
  askedMs: number;
  serial: string;
  toldMs: number;
}

/** Figures of members that the hub cannot enter: it asks, and their agents tell. */
export class ToldFigures {
  readonly #clusters = new Map<string, Asking>();
  #count = 0;

  /** Nobody asks for this rollout any more; agents stop by themselves. */
  forget(rollout: string): void {
    for (const { wants } of this.#clusters.values()) wants.delete(rollout);
  }

  /** What the pods of these services counted, as the cluster's agent told last. Throws `GateError` as long as it has not, or has fallen silent. */
  async read(
    cluster: string,
    { rollout, services }: { readonly rollout: string; readonly services: readonly WatchedService[] },
    hub: HubSide,
  ): Promise<readonly PodCounts[]> {
    const asking = this.#askingOf(cluster);
    asking.wants.set(rollout, services);
    await this.#ask(cluster, asking, hub);
    const namespace = executionSpaceOf(cluster);
    const map = await hub.client.resource(ConfigMapKind).find(FIGURES, { namespace, signal: hub.signal });
    const answer = readAnswer(map?.data?.[TOLD]);
    if (answer === undefined || !asking.marks.has(answer.mark))
      throw new GateError(`the agent of cluster ${cluster} was asked and has not told yet`);
    const nowMs = hub.clock.monotonicMs();
    if (answer.serial !== asking.serial) [asking.serial, asking.toldMs] = [answer.serial, nowMs];
    if (nowMs - asking.toldMs > SILENT_MS)
      throw new GateError(
        `the agent of cluster ${cluster} has told nothing for ${Math.round((nowMs - asking.toldMs) / 1000)} s`,
      );
    return services.flatMap((service) => podsIn(cluster, service, answer.figures));
  }

  #askingOf(cluster: string): Asking {
    const known = this.#clusters.get(cluster);
    if (known !== undefined) return known;
    const asking = { wants: new Map(), marks: new Set<string>(), text: "", askedMs: 0, serial: "", toldMs: 0 };
    this.#clusters.set(cluster, asking);
    return asking;
  }

  async #ask(cluster: string, asking: Asking, { client, clock, signal }: HubSide): Promise<void> {
    const services = [...asking.wants.values()]
      .flat()
      .filter((one, index, all) => all.findIndex((other) => isSameService(one, other)) === index);
    const text = JSON.stringify(services);
    const nowMs = clock.monotonicMs();
    const isKnown = text === asking.text;
    if (isKnown && nowMs - asking.askedMs < ASK_AGAIN_MS) return;
    this.#count += 1;
    const mark = `${clock.now()}-${this.#count}`;
    const namespace = executionSpaceOf(cluster);
    const data = { [ASKED]: writeQuestion({ mark, services }) };
    await client
      .resource(ConfigMapKind)
      .apply(
        { metadata: { name: FIGURES, namespace }, data },
        { fieldManager: "hyper-rollout-controller", force: true, namespace, signal },
      );
    asking.marks = new Set([...(isKnown ? asking.marks : []), mark]);
    [asking.text, asking.askedMs] = [text, nowMs];
  }
}

function podsIn(cluster: string, service: WatchedService, figures: readonly ServiceFigures[]): readonly PodCounts[] {
  const found = figures.find((each) => isSameService(each.service, service));
  if (found?.fault !== undefined) throw new GateError(`the agent of cluster ${cluster} says: ${found.fault}`);
  return found?.pods ?? [];
}
