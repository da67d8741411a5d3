import type { JsonObject } from "../../../kernel/kinds/object.js";
import { asObjects, asString } from "../../../kernel/schema/index.js";
import { authorizerValues, declareAuthorizer } from "./authorizer.js";
import { CelEvaluationError } from "./errors.js";
import { type Budget, type Engine, LazyObject, type Program, structOf, type Type, types } from "./language/index.js";
import { libraryEngine } from "./libraries/index.js";
import { type Shape, shapeOf } from "./shapes.js";

/** A named expression of a policy or webhook; `fault`: it does not compile. */
export interface Expression {
  readonly name: string;
  readonly text: string;
  readonly program: Program | undefined;
  readonly fault: string | undefined;
  /** It compiles and still cannot run. */
  readonly isLate: boolean;
}

/** What expressions of admission may name, ready to run. */
export type AdmissionVariables = Readonly<Record<string, unknown>>;

const text = { type: "string" };
const texts = { type: "array", items: text };
const time = { type: "string", format: "date-time" };
const byText = { type: "object", additionalProperties: text };
const fields = (properties: JsonObject): JsonObject => ({ type: "object", properties });
const coordinates = (last: string) => fields({ group: text, version: text, [last]: text });
const requestSchema = fields({
  kind: coordinates("kind"),
  resource: coordinates("resource"),
  subResource: text,
  requestKind: coordinates("kind"),
  requestResource: coordinates("resource"),
  requestSubResource: text,
  name: text,
  namespace: text,
  operation: text,
  userInfo: fields({
    username: text,
    uid: text,
    groups: texts,
    extra: { type: "object", additionalProperties: texts },
  }),
  dryRun: { type: "boolean" },
  options: { "x-kubernetes-int-or-string": true },
});
const namespaceSchema = fields({
  metadata: fields({
    name: text,
    generateName: text,
    namespace: text,
    labels: byText,
    annotations: byText,
    UID: text,
    creationTimestamp: time,
    deletionGracePeriodSeconds: { type: "integer" },
    deletionTimestamp: time,
    generation: { type: "integer" },
    resourceVersion: text,
    finalizers: texts,
  }),
  spec: fields({ finalizers: texts }),
  status: fields({
    conditions: {
      type: "array",
      items: fields({ status: text, type: text, lastTransitionTime: time, message: text, reason: text }),
    },
    phase: text,
  }),
});
/** What types of objects are called, by where they stand. */
const typeNames: Readonly<Record<string, string>> = {
  request: "kubernetes.AdmissionRequest",
  "request.kind": "kubernetes.GroupVersionKind",
  "request.requestKind": "kubernetes.GroupVersionKind",
  "request.resource": "kubernetes.GroupVersionResource",
  "request.requestResource": "kubernetes.GroupVersionResource",
  "request.userInfo": "kubernetes.UserInfo",
  namespaceObject: "kubernetes.Namespace",
  "namespaceObject.metadata": "kubernetes.NamespaceMetadata",
  "namespaceObject.spec": "kubernetes.NamespaceSpec",
  "namespaceObject.status": "kubernetes.NamespaceStatus",
  "namespaceObject.status.conditions.@idx": "kubernetes.NamespaceCondition",
};

/** Expressions of one policy: its variables are compiled one after the other, each may name those before it. */
export class AdmissionExpressions {
  readonly #hasParams: boolean;
  readonly #variables: Expression[] = [];
  readonly #fields: Map<string, Type> | undefined;
  #engine: Engine | undefined;

  constructor(options: { readonly hasParams: boolean; readonly variables: readonly JsonObject[] }) {
    this.#hasParams = options.hasParams;
    if (options.variables.length === 0) return;
    this.#fields = new Map();
    for (const variable of options.variables) {
      const name = asString(variable["name"]);
      const expression = this.compile(name, asString(variable["expression"]));
      this.#variables.push(expression);
      this.#fields.set(name, expression.program?.type ?? types.dyn);
      this.#engine = undefined;
    }
  }

  get variables(): readonly Expression[] {
    return this.#variables;
  }

  /** `type` absent: any result will do. */
  compile(name: string, source: string, type?: ResultType): Expression {
    this.#engine ??= this.#makeEngine(true);
    return compileIn(this.#engine, { name, text: source }, type);
  }

  /** A messageExpression, which asks for nobody's rights. */
  compileMessage(source: string): Expression {
    return compileIn(this.#makeEngine(false), { name: "", text: source }, "string");
  }

  #makeEngine(hasAuthorizer: boolean): Engine {
    const engine = hasAuthorizer ? common().engine.child() : common().withoutAuthorizer.child();
    if (this.#fields !== undefined) {
      engine.declareFields("kubernetes.variables", new Map(this.#fields));
      engine.declareVariable("variables", structOf("kubernetes.variables"));
    }
    if (this.#hasParams) engine.declareVariable("params", "dyn");
    return engine;
  }

  /** The variables of a request and those that the policy defines; these are evaluated when they are read. */
  bind(given: AdmissionVariables, budget: Budget): AdmissionVariables {
    const bound: Record<string, unknown> = Object.defineProperties({}, Object.getOwnPropertyDescriptors(given));
    const { authorizer, requestResource } = authorizerValues(undefined);
    bound["authorizer"] ??= authorizer;
    bound["authorizer.requestResource"] ??= requestResource;
    const programs = new Map(this.#variables.map((one) => [one.name, one]));
    const known = new Map<string, unknown>();
    bound["variables"] = new LazyObject((name) => {
      const { program, fault } = programs.get(name) ?? {};
      if (fault !== undefined)
        throw new CelEvaluationError(`composited variable ${JSON.stringify(name)} fails to compile: ${fault}`);
      if (!known.has(name))
        known.set(
          name,
          evaluated(name, () => program?.run(bound, budget)),
        );
      return known.get(name);
    });
    return bound;
  }
}

function evaluated(name: string, run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof CelEvaluationError)) throw error;
    throw new CelEvaluationError(`composited variable ${JSON.stringify(name)} fails to evaluate: ${error.message}`);
  }
}

/** What an expression may yield. */
export type ResultType = "bool" | "string" | "string or null";

const results: Readonly<Record<ResultType, { readonly types: readonly string[]; readonly words: string }>> = {
  bool: { types: ["bool"], words: "bool" },
  string: { types: ["string"], words: "string" },
  "string or null": { types: ["string", "null"], words: "one of [string null_type]" },
};

function compileIn(engine: Engine, { name, text }: { name: string; text: string }, type?: ResultType): Expression {
  const refuse = (fault: string, isLate = false): Expression => ({ name, text, program: undefined, fault, isLate });
  const compiled = engine.compile(text.trim());
  if (!("program" in compiled) && !compiled.isLate) return refuse(`compilation failed: ${compiled.fault}`);
  const found = "program" in compiled ? compiled.program.type : compiled.type;
  const wanted = type === undefined ? undefined : results[type];
  if (wanted !== undefined && !wanted.types.includes(found.kind))
    return refuse(`must evaluate to ${wanted.words} but got ${found.text}`);
  if (!("program" in compiled)) return refuse(`program instantiation failed: ${compiled.fault}`, true);
  return { name, text, program: compiled.program, fault: undefined, isLate: false };
}

interface Common {
  readonly engine: Engine;
  readonly withoutAuthorizer: Engine;
  readonly request: Shape | undefined;
  readonly namespace: Shape | undefined;
}

let made: Common | undefined;

/** What all expressions of admission may name; made once, so that values of `request` are of the one type. */
function common(): Common {
  if (made !== undefined) return made;
  const withoutAuthorizer = libraryEngine();
  const named = (path: string): string => typeNames[path] ?? path;
  const request = shapeOf(withoutAuthorizer, requestSchema, "request", { isResource: false, named });
  const namespace = shapeOf(withoutAuthorizer, namespaceSchema, "namespaceObject", { isResource: false, named });
  for (const name of ["object", "oldObject"]) withoutAuthorizer.declareVariable(name, types.dyn);
  withoutAuthorizer.declareVariable("namespaceObject", namespace?.type ?? types.dyn);
  withoutAuthorizer.declareVariable("request", request?.type ?? types.dyn);
  const engine = withoutAuthorizer.child();
  declareAuthorizer(engine);
  made = { engine, withoutAuthorizer, request, namespace };
  return made;
}

/** `namespaceObject` as expressions see it. */
export function namespaceValue(namespace: JsonObject): unknown {
  return common().namespace?.convert(namespace);
}

/** `request` as expressions see it. */
export function requestValue(request: JsonObject): unknown {
  return common().request?.convert(request);
}

/** Compiles `matchConditions`. */
export function compileConditions(expressions: AdmissionExpressions, list: unknown): Expression[] {
  return asObjects(list).map((one) => expressions.compile(asString(one["name"]), asString(one["expression"]), "bool"));
}

/** What all match conditions of one request may cost. */
const conditionsBudget = 2_500_000;

/** What match conditions say: a condition that is false decides, before one that fails. They are not told of the namespace. */
export function conditionsHold(
  conditions: readonly Expression[],
  given: AdmissionVariables,
): { readonly holds: boolean; readonly error?: string } {
  const errors = new Set<string>();
  const budget = { left: conditionsBudget };
  const variables: AdmissionVariables = Object.defineProperties(
    {},
    { ...Object.getOwnPropertyDescriptors(given), namespaceObject: { value: null, enumerable: true } },
  );
  for (const { text, program, fault } of conditions) {
    try {
      if (program === undefined) throw new CelEvaluationError(fault ?? "");
      if (program.run(variables, budget) !== true) return { holds: false };
    } catch (thrown) {
      if (!(thrown instanceof Error)) throw thrown;
      errors.add(`expression '${text.trim()}' resulted in error: ${thrown.message}`);
    }
  }
  if (errors.size === 0) return { holds: true };
  const all = [...errors].join(", ");
  return { holds: false, error: errors.size === 1 ? all : `[${all}]` };
}
