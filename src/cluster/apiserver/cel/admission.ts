import type { JsonObject } from "../../../kernel/kinds/object.js";
import { asObjects, asString } from "../../../kernel/schema/index.js";
import { authorizerValue, declareAuthorizer } from "./authorizer.js";
import type { Budget, Engine, Program } from "./engine.unsafe.js";
import { CelEvaluationError } from "./errors.js";
import { libraryEngine } from "./libraries/index.js";
import { type Shape, shapeOf } from "./shapes.js";
import { typeWords } from "./wording.js";

/** A named expression of a policy or webhook; `fault`: it does not compile. */
export interface Expression {
  readonly name: string;
  readonly text: string;
  readonly program: Program | undefined;
  readonly fault: string | undefined;
}

/** What expressions of admission may name, ready to run. */
export type AdmissionVariables = Readonly<Record<string, unknown>>;

const text = { type: "string" };
const coordinates = (last: string) => ({ type: "object", properties: { group: text, version: text, [last]: text } });
const requestSchema = {
  type: "object",
  properties: {
    kind: coordinates("kind"),
    resource: coordinates("resource"),
    subResource: text,
    requestKind: coordinates("kind"),
    requestResource: coordinates("resource"),
    requestSubResource: text,
    name: text,
    namespace: text,
    operation: text,
    userInfo: {
      type: "object",
      properties: {
        username: text,
        uid: text,
        groups: { type: "array", items: text },
        extra: { type: "object", additionalProperties: { type: "array", items: text } },
      },
    },
    dryRun: { type: "boolean" },
    options: { "x-kubernetes-int-or-string": true },
  },
};

/** Expressions of one policy: its variables are compiled one after the other, each may name those before it. */
export class AdmissionExpressions {
  readonly #hasParams: boolean;
  readonly #variables: Expression[] = [];
  readonly #fields: Record<string, string> | undefined;
  #engine: Engine | undefined;

  constructor(options: { readonly hasParams: boolean; readonly variables: readonly JsonObject[] }) {
    this.#hasParams = options.hasParams;
    if (options.variables.length === 0) return;
    this.#fields = {};
    for (const variable of options.variables) {
      const name = asString(variable["name"]);
      const expression = this.compile(name, asString(variable["expression"]));
      this.#variables.push(expression);
      this.#fields[name] = expression.program?.type ?? "dyn";
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
      engine.declareType("kubernetes.variables", Variables, { ...this.#fields });
      engine.declareVariable("variables", "kubernetes.variables");
    }
    if (this.#hasParams) engine.declareVariable("params", "dyn");
    return engine;
  }

  /** The variables of a request and those that the policy defines; these are evaluated when they are read. */
  bind(given: AdmissionVariables, budget: Budget): AdmissionVariables {
    const bound: Record<string, unknown> = Object.defineProperties({}, Object.getOwnPropertyDescriptors(given));
    bound["authorizer"] ??= authorizerValue(undefined);
    const variables = new Variables();
    for (const { name, program } of this.#variables) {
      let value: { readonly known: unknown } | undefined;
      Object.defineProperty(variables, name, {
        configurable: true,
        get() {
          value ??= { known: program?.run(bound, budget) };
          return value.known;
        },
      });
    }
    bound["variables"] = variables;
    return bound;
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
  const refuse = (fault: string): Expression => ({ name, text, program: undefined, fault });
  const compiled = engine.compile(text.trim());
  if ("fault" in compiled) return refuse(`compilation failed: ${compiled.fault}`);
  const { program } = compiled;
  const wanted = type === undefined ? undefined : results[type];
  if (wanted !== undefined && !wanted.types.includes(program.type))
    return refuse(`must evaluate to ${wanted.words} but got ${typeWords(program.type)}`);
  return { name, text, program, fault: undefined };
}

/** Values of a policy's own variables. */
class Variables {}

interface Common {
  readonly engine: Engine;
  readonly withoutAuthorizer: Engine;
  readonly request: Shape | undefined;
}

let made: Common | undefined;

/** What all expressions of admission may name; made once, so that values of `request` are of the one type. */
function common(): Common {
  if (made !== undefined) return made;
  const withoutAuthorizer = libraryEngine();
  const request = shapeOf(withoutAuthorizer, requestSchema, "request", false);
  for (const name of ["object", "oldObject", "namespaceObject"]) withoutAuthorizer.declareVariable(name, "dyn");
  withoutAuthorizer.declareVariable("request", request?.type ?? "dyn");
  const engine = withoutAuthorizer.child();
  declareAuthorizer(engine);
  made = { engine, withoutAuthorizer, request };
  return made;
}

/** `request` as expressions see it. */
export function requestValue(request: JsonObject): unknown {
  return common().request?.convert(request);
}

/** Compiles `matchConditions`. */
export function compileConditions(expressions: AdmissionExpressions, list: unknown): Expression[] {
  return asObjects(list).map((one) => expressions.compile(asString(one["name"]), asString(one["expression"]), "bool"));
}

/** What match conditions say: a condition that is false decides, before one that fails. */
export function conditionsHold(
  conditions: readonly Expression[],
  variables: AdmissionVariables,
  budget: Budget,
): { readonly holds: boolean; readonly error?: string } {
  let error: string | undefined;
  for (const { name, program, fault } of conditions) {
    try {
      if (program === undefined) throw new CelEvaluationError(fault ?? "");
      if (program.run(variables, budget) !== true) return { holds: false };
    } catch (thrown) {
      if (!(thrown instanceof Error)) throw thrown;
      error ??= `match condition ${JSON.stringify(name)} failed: ${thrown.message}`;
    }
  }
  return error === undefined ? { holds: true } : { holds: false, error };
}
