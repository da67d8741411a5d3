import type { InformerSet, Key } from "../../../kernel/control/index.js";
import { isOfKind, type KubeObject, type Node, NodeKind, type Pod, PodKind } from "../../../kernel/kinds/index.js";
import { isTerminal } from "../shared/pods.js";

/** What a pod was like when it was last looked at in vain. */
interface Attempt {
  readonly atMs: number;
  readonly generation: number | undefined;
  readonly labels: string;
}

const text = (value: unknown): string => JSON.stringify(value ?? {});

/** Whether other pods may decide where the pod can go. */
function caresForOthers({ spec }: Pod): boolean {
  const { podAffinity, podAntiAffinity } = spec.affinity ?? {};
  return (
    podAffinity !== undefined || podAntiAffinity !== undefined || (spec.topologySpreadConstraints ?? []).length > 0
  );
}

/** What of a node decides about pods; it says that it is alive far more often than this changes. */
function essenceOf({ metadata, spec, status }: Node): string {
  return text([metadata.labels, spec, status?.allocatable, status?.images?.length]);
}

/** Remembers which pods were looked at in vain, and what is worth another look: nothing is decided anew on what did not change. */
export class Attention {
  readonly #pending: (informers: InformerSet) => readonly Pod[];
  readonly #attempts = new Map<string, Attempt>();
  readonly #nodes = new Map<string, string>();

  /** `pending`: all pods that wait, the most important first. */
  constructor(pending: (informers: InformerSet) => readonly Pod[]) {
    this.#pending = pending;
  }

  /** Something changed that may let any pod in. */
  wakeAll(informers: InformerSet): readonly Key[] {
    this.#attempts.clear();
    return this.#pending(informers).map(keyOf);
  }

  /** A node came, went, or changed. */
  afterNode({ metadata }: KubeObject, informers: InformerSet): readonly Key[] {
    const { name } = metadata;
    const node = informers.informer(NodeKind).get({ namespace: "", name });
    const essence = node === undefined ? undefined : essenceOf(node);
    if (this.#nodes.get(name) === essence) return [];
    if (essence === undefined) this.#nodes.delete(name);
    else this.#nodes.set(name, essence);
    return this.wakeAll(informers);
  }

  /** A pod went, shrank, got other labels, or came where others look for it. `object`: as it is, or as it was. */
  afterPod(object: KubeObject, informers: InformerSet): readonly Key[] {
    const { namespace = "", name } = object.metadata;
    const now = informers.informer(PodKind).get({ namespace, name });
    if (now === undefined || isTerminal(now)) return this.wakeAll(informers);
    if ((now.spec.nodeName ?? "") === "") return [];
    if (object === now) return now.status?.conditions === undefined ? this.#wakeSociable(informers) : [];
    if (!isOfKind(object, PodKind)) return [];
    if ((object.spec.nodeName ?? "") === "") return this.#wakeSociable(informers);
    const isSame = text(object.metadata.labels) === text(now.metadata.labels) && text(object.spec) === text(now.spec);
    return isSame ? [] : this.wakeAll(informers);
  }

  #wakeSociable(informers: InformerSet): readonly Key[] {
    const concerned = this.#pending(informers).filter(caresForOthers);
    for (const { metadata } of concerned) this.#attempts.delete(metadata.uid);
    return concerned.map(keyOf);
  }

  /** Whether to look at the pod; says so again only after something changed, or after `retryMs`. */
  isDue({ metadata }: Pod, nowMs: number, retryMs: number): boolean {
    const { uid, generation } = metadata;
    const labels = text(metadata.labels);
    const before = this.#attempts.get(uid);
    const isSame = before?.generation === generation && before?.labels === labels;
    if (before !== undefined && isSame && nowMs - before.atMs < retryMs) return false;
    this.#attempts.set(uid, { atMs: nowMs, generation, labels });
    return true;
  }

  /** The pod has its place, or is no more. */
  forget(uid: string): void {
    this.#attempts.delete(uid);
  }
}

function keyOf({ metadata }: Pod): Key {
  return { namespace: metadata.namespace ?? "", name: metadata.name };
}
