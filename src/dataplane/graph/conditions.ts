/** Conditions of steps: a path that must lead to something, and a typed comparison. */
import { InputError } from "../../kernel/errors/index.js";
import { compileGjson } from "../../kernel/gjson/index.js";
import type { Json, JsonObject } from "../../kernel/kinds/object.js";
import { asString, didYouMean, equalJson } from "../../kernel/schema/index.js";

/** Whether something holds of a document. */
export type Condition = (document: Json) => boolean;

/** How `when` compares. Values of different types are never equal, greater or less; nothing is converted. */
export const OPERATORS = [
  ...["Exists", "DoesNotExist", "Equals", "NotEquals", "In", "NotIn"],
  ...["GreaterThan", "GreaterOrEqual", "LessThan", "LessOrEqual"],
] as const;

/** KServe's condition: a GJSON path that must lead to something. Throws `InputError`. */
export function compileCondition(text: string): Condition {
  const path = compileGjson(text);
  return (document) => path.find(document) !== undefined;
}

/** `when: {path, operator, value}`. Throws `InputError` with the member that is wrong first, as in `operator: …`. */
export function compileWhen(when: JsonObject): Condition {
  const operator = asString(when["operator"] ?? "Exists");
  const { value } = when;
  let find: (document: Json) => Json | undefined;
  try {
    const path = compileGjson(asString(when["path"]));
    find = (document) => path.find(document);
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`path: ${error.message}`, { cause: error });
    throw error;
  }
  const compare = comparisonOf(operator, value);
  return (document) => compare(find(document));
}

function comparisonOf(operator: string, value: Json | undefined): (found: Json | undefined) => boolean {
  if (operator === "Exists" || operator === "DoesNotExist") {
    if (value !== undefined) throw new InputError(`value: ${operator} takes none`);
    return (found) => (found !== undefined) === (operator === "Exists");
  }
  if (value === undefined) throw new InputError(`value: ${operator} needs one`);
  if (operator === "Equals") return (found) => found !== undefined && equalJson(found, value);
  if (operator === "NotEquals") return (found) => found !== undefined && !equalJson(found, value);
  if (operator === "In" || operator === "NotIn") {
    if (!Array.isArray(value)) throw new InputError(`value: ${operator} needs a list`);
    const wanted = operator === "In";
    return (found) => found !== undefined && value.some((each) => equalJson(found, each)) === wanted;
  }
  const order = ORDERS.get(operator);
  if (order === undefined) {
    const meant = didYouMean(operator, OPERATORS);
    throw new InputError(
      `operator: ${operator} is none of ${OPERATORS.join(", ")}${meant === undefined ? "" : `; did you mean ${meant}?`}`,
    );
  }
  if (typeof value !== "number" && typeof value !== "string")
    throw new InputError(`value: ${operator} needs a number or a text`);
  return (found) =>
    (typeof found === "number" || typeof found === "string") && typeof found === typeof value && order(found, value);
}

const ORDERS: ReadonlyMap<string, (found: number | string, wanted: number | string) => boolean> = new Map([
  ["GreaterThan", (found, wanted) => found > wanted],
  ["GreaterOrEqual", (found, wanted) => found >= wanted],
  ["LessThan", (found, wanted) => found < wanted],
  ["LessOrEqual", (found, wanted) => found <= wanted],
]);
