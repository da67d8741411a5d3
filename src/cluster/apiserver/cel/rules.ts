import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { asList, asObject, asObjects, asString, isObject } from "../../../kernel/schema/index.js";
import { estimateCost } from "./cost.js";
import { type Compiled, mentions, optionalOf, type Program } from "./language/index.js";
import { libraryEngine } from "./libraries/index.js";
import { maxRequestBytes, type Shape, shapeOf } from "./shapes.js";

/** One rule of a schema, compiled. */
export interface Rule {
  /** Of the values that it is about. */
  readonly shape: Shape;
  readonly source: JsonObject;
  readonly index: number;
  readonly text: string;
  readonly program: Program | undefined;
  /** Why it cannot run. */
  readonly fault: string | undefined;
  readonly messageProgram: Program | undefined;
  readonly messageFault: string | undefined;
  readonly usesOldSelf: boolean;
  readonly isOldSelfOptional: boolean;
  /** Estimated cost of one run, times how often it can run in one object. */
  readonly cost: number;
  readonly messageCost: number;
}

/** A place in a schema that has rules, or has them below. */
export interface RuleNode {
  readonly schema: JsonObject;
  readonly rules: readonly Rule[];
  readonly properties: readonly (readonly [string, RuleNode])[];
  readonly items: RuleNode | undefined;
  readonly values: RuleNode | undefined;
  /** Keys by which items of a list are known again; absent: they are not. */
  readonly mapKeys: readonly string[] | undefined;
}

/** Whether a schema has rules anywhere. */
export function hasRules(schema: Json | undefined): boolean {
  if (!isObject(schema)) return false;
  if (asList(schema["x-kubernetes-validations"]).length > 0) return true;
  return (
    Object.values(asObject(schema["properties"])).some(hasRules) ||
    hasRules(schema["items"]) ||
    hasRules(schema["additionalProperties"])
  );
}

/** Compiles the rules of a structural schema; `undefined`: it has none. */
export function compileRules(schema: JsonObject): RuleNode | undefined {
  return nodeOf({ ...schema, type: "object" }, { isResource: true, cardinality: 1 });
}

/** What stands above a place in a schema. */
interface Above {
  readonly isResource: boolean;
  /** How often the place can be in one object; absent: as often as fits. */
  readonly cardinality: number | undefined;
}

function nodeOf(schema: JsonObject, above: Above): RuleNode | undefined {
  if (!hasRules(schema)) return undefined;
  const rules = rulesOf(schema, above);
  if (rules === undefined) return undefined;
  const properties: [string, RuleNode][] = [];
  for (const [name, inner] of Object.entries(asObject(schema["properties"]))) {
    const below = isObject(inner)
      ? nodeOf(inner, { isResource: isEmbedded(inner), cardinality: above.cardinality })
      : undefined;
    if (below !== undefined) properties.push([name, below]);
  }
  const member = (inner: Json | undefined, most: Json | undefined): RuleNode | undefined => {
    const cardinality =
      typeof most === "number" && above.cardinality !== undefined ? above.cardinality * most : undefined;
    return isObject(inner) ? nodeOf(inner, { isResource: isEmbedded(inner), cardinality }) : undefined;
  };
  return {
    schema,
    rules,
    properties,
    items: member(schema["items"], schema["maxItems"]),
    values: member(schema["additionalProperties"], schema["maxProperties"]),
    mapKeys:
      schema["x-kubernetes-list-type"] === "map"
        ? asList(schema["x-kubernetes-list-map-keys"]).map(asString)
        : undefined,
  };
}

/** `undefined`: expressions cannot read what is there or below. The types of all that is below are declared only where a rule may ask for them. */
function rulesOf(schema: JsonObject, above: Above): Rule[] | undefined {
  const isPlain = schema["type"] === "object" && !isObject(schema["additionalProperties"]);
  if (isPlain && asObjects(schema["x-kubernetes-validations"]).length === 0) return [];
  const engine = libraryEngine();
  const shape = shapeOf(engine, schema, "selfType0", above);
  if (shape === undefined) return undefined;
  const cardinality = above.cardinality ?? Math.floor(maxRequestBytes / (shape.minBytes + 1));
  return compileAt(engine, schema, { shape, cardinality });
}

const isEmbedded = (schema: JsonObject): boolean => schema["x-kubernetes-embedded-resource"] === true;

interface Place {
  readonly shape: Shape;
  readonly cardinality: number;
}

type Engine = ReturnType<typeof libraryEngine>;

function compileAt(engine: Engine, schema: JsonObject, place: Place): Rule[] {
  const sources = asObjects(schema["x-kubernetes-validations"]);
  if (sources.length === 0) return [];
  const { type } = place.shape;
  engine.declareVariable("self", type);
  const [required, optional] = [engine.child(), engine.child()];
  required.declareVariable("oldSelf", type);
  optional.declareVariable("oldSelf", optionalOf(type));
  return sources.map((source, index) =>
    compileRule(source, index, { ...place, engine: source["optionalOldSelf"] === true ? optional : required }),
  );
}

function compileRule(source: JsonObject, index: number, place: Place & { readonly engine: Engine }): Rule {
  const { engine, shape, cardinality } = place;
  const text = asString(source["rule"]);
  const rule = text.trim() === "" ? {} : compileTo(engine, text, "bool");
  const messageText = asString(source["messageExpression"]);
  // Without a rule that compiles nothing is said of its message.
  const message = messageText === "" || rule.program === undefined ? {} : compileTo(engine, messageText, "string");
  return {
    shape,
    source,
    index,
    text,
    program: rule.program,
    fault: rule.fault,
    messageProgram: message.program,
    messageFault: message.fault,
    usesOldSelf: rule.program !== undefined && mentions(rule.program.checked.root, "oldSelf"),
    isOldSelfOptional: source["optionalOldSelf"] === true,
    cost: rule.program === undefined ? 0 : times(estimateCost(rule.program.checked, shape), cardinality),
    messageCost: message.program === undefined ? 0 : estimateCost(message.program.checked, shape),
  };
}

const times = (cost: number, runs: number): number => (cost === 0 ? 0 : cost * runs);

const words = {
  bool: { before: "", mismatch: "cel expression must evaluate to a bool" },
  string: { before: "messageExpression ", mismatch: "messageExpression must evaluate to a string" },
} as const;

function compileTo(engine: Engine, text: string, type: "bool" | "string"): { program?: Program; fault?: string } {
  const { before, mismatch } = words[type];
  const compiled: Compiled = engine.compile(text);
  if ("program" in compiled)
    return compiled.program.type.kind === type ? { program: compiled.program } : { fault: mismatch };
  // A fault of planning, of which there is none where the type is wrong already.
  const late = type === "bool" ? "program instantiation failed" : "messageExpression instantiation failed";
  if (compiled.isLate) return { fault: compiled.type.kind === type ? `${late}: ${compiled.fault}` : mismatch };
  return { fault: `${before}compilation failed: ${compiled.fault}` };
}
