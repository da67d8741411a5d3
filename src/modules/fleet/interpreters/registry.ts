import type { Logger } from "../../../kernel/log/index.js";
import { customInterpreter } from "./custom.js";
import {
  OPERATIONS,
  type Operation,
  type ResourceInterpreterCustomization,
  ResourceInterpreterCustomizationKind,
} from "./customization-kind.js";
import { MACHINE_LEARNING_KINDS } from "./machine-learning.js";
import { NATIVE_KINDS } from "./native.js";
import type { CustomizationSource, Interpreter, Interpreters, PartialInterpreter } from "./types.js";

/** What holds of a kind of which nothing is known. */
const USUAL: Interpreter = {
  replicas: () => undefined,
  components: () => [],
  revise: (object) => object,
  health: () => "Healthy",
  reflectStatus: ({ status }) =>
    typeof status === "object" && status !== null && !Array.isArray(status) ? status : undefined,
  aggregateStatus: () => undefined,
  dependencies: () => [],
  retain: (desired) => desired,
};

/** An interpreter of the parts that are given, the earlier ones first; what none of them has is usual. */
export function interpreterOf(...parts: readonly (PartialInterpreter | undefined)[]): Interpreter {
  return Object.assign({}, USUAL, ...parts.toReversed());
}

const KNOWN = new Map<string, Interpreter>(
  [NATIVE_KINDS, MACHINE_LEARNING_KINDS].flatMap((kinds) =>
    Object.entries(kinds).map(([name, part]) => [name, interpreterOf(part)] as const),
  ),
);
const UNKNOWN = interpreterOf();

/** What Argosy itself knows of a kind. */
export function builtInInterpreter(apiVersion: string, kind: string): Interpreter {
  return KNOWN.get(`${apiVersion}/${kind}`) ?? UNKNOWN;
}

/** What scripts need to run. */
interface Surroundings {
  readonly nowMs: () => number;
  readonly log: Logger;
}

/** Interpreters with the hub's customizations on top of what Argosy knows. */
export class InterpreterRegistry implements Interpreters {
  readonly #custom = new Map<string, Interpreter>();
  readonly #following = new WeakMap<AbortSignal, Promise<void>>();

  interpreterFor(apiVersion: string, kind: string): Interpreter {
    return this.#custom.get(`${apiVersion}/${kind}`) ?? builtInInterpreter(apiVersion, kind);
  }

  follow(source: CustomizationSource): Promise<void> {
    const known = this.#following.get(source.signal);
    if (known !== undefined) return known;
    const begun = this.#begin(source);
    this.#following.set(source.signal, begun);
    return begun;
  }

  /** Takes over customizations once, as they are. */
  learn(all: readonly ResourceInterpreterCustomization[], surroundings: Surroundings): void {
    for (const kind of new Set(all.map(targetOf))) this.#build(kind, all, surroundings);
  }

  async #begin(source: CustomizationSource): Promise<void> {
    const surroundings = { nowMs: () => source.clock.now(), log: source.log };
    const informer = source.cluster.informers.informer(ResourceInterpreterCustomizationKind);
    const undo = informer.onChange((now, old) => {
      const kinds = [now, old].flatMap((one) => (one === undefined ? [] : [targetOf(one)]));
      for (const kind of new Set(kinds)) this.#build(kind, informer.list(), surroundings);
    });
    source.signal.addEventListener("abort", undo, { once: true });
    // A hub whose definitions are older has none; what waits for them must not wait for ever.
    const wait = new AbortController();
    try {
      await Promise.race([informer.synced(source.signal), source.clock.sleep(LONGEST_WAIT_MS, wait.signal)]);
    } finally {
      wait.abort();
    }
    this.learn(informer.list(), surroundings);
  }

  #build(target: string, all: readonly ResourceInterpreterCustomization[], { nowMs, log }: Surroundings): void {
    const own = all
      .filter((one) => targetOf(one) === target)
      .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
    if (own.length === 0) {
      this.#custom.delete(target);
      return;
    }
    const told = new Set<string>();
    const report = (operation: Operation, message: string): void => {
      if (told.has(message) || told.size > MAX_TOLD) return;
      told.add(message);
      log.warn("a script went wrong", { kind: target, operation: OPERATIONS[operation], message });
    };
    try {
      const part = customInterpreter(own, { nowMs, report });
      this.#custom.set(target, interpreterOf(part, NATIVE_KINDS[target], MACHINE_LEARNING_KINDS[target]));
    } catch (error) {
      // Written before this hub looked at scripts; what was before goes on.
      log.warn("a customization cannot be read", { kind: target, err: error });
    }
  }
}

const MAX_TOLD = 20;
const LONGEST_WAIT_MS = 10_000;

function targetOf({ spec: { target } }: ResourceInterpreterCustomization): string {
  return `${target.apiVersion}/${target.kind}`;
}
