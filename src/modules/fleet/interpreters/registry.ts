import { MACHINE_LEARNING_KINDS } from "./machine-learning.js";
import { NATIVE_KINDS } from "./native.js";
import type { Interpreter, Interpreters, PartialInterpreter } from "./types.js";

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

/** Interpreters with customizations on top of what Argosy knows. */
export class InterpreterRegistry implements Interpreters {
  readonly #custom = new Map<string, Interpreter>();

  interpreterFor(apiVersion: string, kind: string): Interpreter {
    return this.#custom.get(`${apiVersion}/${kind}`) ?? builtInInterpreter(apiVersion, kind);
  }

  /** From now on these parts come first; for kinds that are not named, none do. */
  customize(parts: ReadonlyMap<string, PartialInterpreter>): void {
    this.#custom.clear();
    for (const [name, part] of parts)
      this.#custom.set(name, interpreterOf(part, NATIVE_KINDS[name], MACHINE_LEARNING_KINDS[name]));
  }
}
