import type { ClusterAccess, Informer } from "../../../kernel/control/index.js";
import {
  CustomResourceDefinitionKind,
  type KubeObject,
  type Node,
  NodeKind,
  type Pod,
  PodKind,
} from "../../../kernel/kinds/index.js";

/** What a member's own watches tell of it: nodes, pods, and that its kinds changed. */
export class MemberWatch {
  readonly member: ClusterAccess;
  readonly #nodes: Followed<Node>;
  readonly #pods: Followed<Pod>;
  readonly #undo: (() => void)[] = [];
  /** Definitions were made, changed or removed since the kinds were read last. */
  hasNewKinds = false;
  /** Raised with every change of nodes and pods. */
  changes = 0;

  /** `onChange` is called after every change, however small. */
  constructor(member: ClusterAccess, signal: AbortSignal, onChange: () => void) {
    this.member = member;
    const count = (): void => {
      this.changes += 1;
      onChange();
    };
    this.#nodes = this.#follow(member.informers.informer(NodeKind), signal, count);
    this.#pods = this.#follow(member.informers.informer(PodKind), signal, count);
    const definitions = member.informers.informer(CustomResourceDefinitionKind);
    this.#undo.push(
      definitions.onChange(() => {
        this.hasNewKinds = true;
        onChange();
      }),
    );
  }

  /** Undefined until the first list is in: an empty one would be a lie. */
  get nodes(): readonly Node[] | undefined {
    return this.#nodes.isSynced ? this.#nodes.informer.list() : undefined;
  }

  get pods(): readonly Pod[] | undefined {
    return this.#pods.isSynced ? this.#pods.informer.list() : undefined;
  }

  close(): void {
    for (const undo of this.#undo.splice(0)) undo();
  }

  #follow<T extends KubeObject>(informer: Informer<T>, signal: AbortSignal, onChange: () => void): Followed<T> {
    const followed: Followed<T> = { informer, isSynced: false };
    this.#undo.push(informer.onChange(onChange));
    informer.synced(signal).then(
      () => {
        followed.isSynced = true;
        onChange();
      },
      // Only at the end.
      () => {},
    );
    return followed;
  }
}

interface Followed<T extends KubeObject> {
  readonly informer: Informer<T>;
  isSynced: boolean;
}
