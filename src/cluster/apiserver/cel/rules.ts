import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { asList, asObject, asObjects, asString, isObject } from "../../../kernel/schema/index.js";
import { estimateCost } from "./cost.js";
import type { CelNode, Engine, Program } from "./engine.unsafe.js";
import { libraryEngine } from "./libraries/index.js";
import { escapeField, type Shape, shapeOf } from "./shapes.js";

/** One rule of a schema, compiled. */
export interface Rule {
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
  readonly shape: Shape;
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
  if (!hasRules(schema)) return undefined;
  const engine = libraryEngine();
  const shape = shapeOf(engine, { ...schema, type: "object" }, "self", true);
  return shape === undefined ? undefined : nodeOf(engine, schema, shape, 1);
}

function nodeOf(engine: Engine, schema: JsonObject, shape: Shape, cardinality: number): RuleNode | undefined {
  if (!hasRules(schema)) return undefined;
  const properties: [string, RuleNode][] = [];
  for (const [name, inner] of Object.entries(asObject(schema["properties"]))) {
    if (!isObject(inner)) continue;
    const below = shape.fields?.get(escapeField(name) ?? "");
    const node = below === undefined ? unnamed(inner, cardinality) : nodeOf(engine, inner, below, cardinality);
    if (node !== undefined) properties.push([name, node]);
  }
  const [items, values] = [schema["items"], schema["additionalProperties"]];
  const many = cardinality * Math.max(shape.max, 1);
  return {
    schema,
    shape,
    rules: compileAt(engine, schema, shape, cardinality),
    properties,
    items: isObject(items) && shape.items !== undefined ? nodeOf(engine, items, shape.items, many) : undefined,
    values: isObject(values) && shape.values !== undefined ? nodeOf(engine, values, shape.values, many) : undefined,
    mapKeys:
      schema["x-kubernetes-list-type"] === "map"
        ? asList(schema["x-kubernetes-list-map-keys"]).map(asString)
        : undefined,
  };
}

/** Rules may also stand at a property whose name expressions cannot say. */
function unnamed(schema: JsonObject, cardinality: number): RuleNode | undefined {
  if (!hasRules(schema)) return undefined;
  const engine = libraryEngine();
  const shape = shapeOf(engine, schema, "self", schema["x-kubernetes-embedded-resource"] === true);
  return shape === undefined ? undefined : nodeOf(engine, schema, shape, cardinality);
}

interface Engines {
  readonly required: Engine;
  readonly optional: Engine;
}

function compileAt(engine: Engine, schema: JsonObject, shape: Shape, cardinality: number): Rule[] {
  const sources = asObjects(schema["x-kubernetes-validations"]);
  if (sources.length === 0) return [];
  const engines: Engines = { required: engine.child(), optional: engine.child() };
  for (const one of [engines.required, engines.optional]) one.declareVariable("self", shape.type);
  engines.required.declareVariable("oldSelf", shape.type);
  engines.optional.declareVariable("oldSelf", `optional<${shape.type}>`);
  return sources.map((source, index) => compileRule(source, index, { engines, shape, cardinality }));
}

interface Place {
  readonly engines: Engines;
  readonly shape: Shape;
  readonly cardinality: number;
}

function compileRule(source: JsonObject, index: number, { engines, shape, cardinality }: Place): Rule {
  const isOldSelfOptional = source["optionalOldSelf"] === true;
  const engine = isOldSelfOptional ? engines.optional : engines.required;
  const text = asString(source["rule"]).trim();
  const rule = compileTo(engine, text, "bool");
  const messageText = asString(source["messageExpression"]).trim();
  const message = messageText === "" ? {} : compileTo(engine, messageText, "string");
  return {
    source,
    index,
    text,
    program: rule.program,
    fault: rule.fault,
    messageProgram: message.program,
    messageFault: message.fault,
    usesOldSelf: rule.program !== undefined && mentions(rule.program.root, "oldSelf"),
    isOldSelfOptional,
    cost: rule.program === undefined ? 0 : times(estimateCost(rule.program.root, shape), cardinality),
    messageCost: message.program === undefined ? 0 : estimateCost(message.program.root, shape),
  };
}

const times = (cost: number, runs: number): number => (cost === 0 ? 0 : cost * runs);

const mismatch = {
  bool: "cel expression must evaluate to a bool",
  string: "messageExpression must evaluate to a string",
} as const;

function compileTo(engine: Engine, text: string, type: "bool" | "string"): { program?: Program; fault?: string } {
  const compiled = engine.compile(text);
  if ("fault" in compiled)
    return { fault: `${type === "bool" ? "" : "messageExpression "}compilation failed: ${compiled.fault}` };
  return compiled.program.type === type ? { program: compiled.program } : { fault: mismatch[type] };
}

function mentions(node: CelNode, name: string): boolean {
  return (node.op === "id" && node.args === name) || node.parts.some((part) => mentions(part, name));
}
