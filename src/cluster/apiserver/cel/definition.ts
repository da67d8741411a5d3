import type { StatusCause } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { asObjects, asString } from "../../../kernel/schema/index.js";
import { costWords, ruleCostLimit, totalCostLimit } from "./cost.js";
import { resolveFieldPath } from "./paths.js";
import { compileRules, type Rule, type RuleNode } from "./rules.js";

const reasons = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

interface Checking {
  readonly causes: StatusCause[];
  readonly costs: { readonly path: string; readonly cost: number }[];
}

/** Checks the rules of a structural schema as a definition is written: they compile, are affordable and well told. `path` is the schema's. */
export function checkRules(schema: JsonObject, path: string): StatusCause[] {
  const root = compileRules(schema);
  if (root === undefined) return [];
  const checking: Checking = { causes: [], costs: [] };
  checkNode(root, path, undefined, checking);
  checkTotal(path, checking);
  return checking.causes;
}

/** `uncorrelated`: the list below which old values cannot be found. */
function checkNode(node: RuleNode, path: string, uncorrelated: string | undefined, checking: Checking): void {
  for (const rule of node.rules) checkRule(rule, { path, uncorrelated, checking });
  for (const [name, below] of node.properties) checkNode(below, `${path}.properties[${name}]`, uncorrelated, checking);
  if (node.items !== undefined)
    checkNode(node.items, `${path}.items`, uncorrelated ?? (node.mapKeys === undefined ? path : undefined), checking);
  if (node.values !== undefined) checkNode(node.values, `${path}.additionalProperties`, uncorrelated, checking);
}

/** What is wrong with what a schema's own rules say besides their expressions. */
export function ruleWordFaults(schema: JsonObject, path: string): StatusCause[] {
  const causes: StatusCause[] = [];
  for (const [index, source] of asObjects(schema["x-kubernetes-validations"]).entries()) {
    const place = `${path}.x-kubernetes-validations[${index}]`;
    const add = (reason: string, field: string, message: string): void =>
      void causes.push({ reason, message, field: `${place}.${field}` });
    checkWords(source, add);
    const fieldPath = asString(source["fieldPath"]);
    if (fieldPath !== "" && resolveFieldPath(schema, fieldPath) === undefined)
      add("FieldValueInvalid", "fieldPath", `Invalid value: ${JSON.stringify(fieldPath)}: must be a valid path`);
  }
  return causes;
}

function checkRule(
  rule: Rule,
  place: { readonly path: string; readonly uncorrelated: string | undefined; readonly checking: Checking },
): void {
  const { checking, uncorrelated } = place;
  const path = `${place.path}.x-kubernetes-validations[${rule.index}]`;
  const add = (reason: string, field: string, message: string): void =>
    void checking.causes.push({ reason, message, field: `${path}.${field}` });
  if (rule.text.trim() === "") return;
  const shown = dump(rule.source);
  if (rule.fault !== undefined) add("FieldValueInvalid", "rule", `Invalid value: ${shown}: ${rule.fault}`);
  if (rule.messageFault !== undefined)
    add("FieldValueInvalid", "messageExpression", `Invalid value: ${shown}: ${rule.messageFault}`);
  if (rule.usesOldSelf && uncorrelated !== undefined)
    add(
      "FieldValueInvalid",
      "rule",
      `Invalid value: ${JSON.stringify(rule.text)}: oldSelf cannot be used on the uncorrelatable portion of the schema within ${uncorrelated}`,
    );
  if (rule.cost > ruleCostLimit)
    add("FieldValueForbidden", "rule", `Forbidden: ${costWords("estimated rule cost", rule.cost, ruleCostLimit)}`);
  if (rule.messageCost > ruleCostLimit)
    add(
      "FieldValueForbidden",
      "messageExpression",
      `Forbidden: ${costWords("estimated messageExpression cost", rule.messageCost, ruleCostLimit)}`,
    );
  checking.costs.push({ path: `${path}.rule`, cost: rule.cost });
  if (rule.messageProgram !== undefined)
    checking.costs.push({ path: `${path}.messageExpression`, cost: rule.messageCost });
}

function checkWords(source: JsonObject, add: (reason: string, field: string, message: string) => void): void {
  const [rule, message, expression] = [source["rule"], source["message"], source["messageExpression"]].map(asString);
  if (rule?.trim() === "") add("FieldValueRequired", "rule", "Required value: rule is not specified");
  if (message !== undefined && message !== "") {
    const shown = `Invalid value: ${JSON.stringify(message)}`;
    if (message.trim() === "") add("FieldValueInvalid", "message", `${shown}: message must be non-empty if specified`);
    else if (message.trim().includes("\n"))
      add("FieldValueInvalid", "message", `${shown}: must not contain line breaks`);
    else if (message.length > 2048)
      add(
        "FieldValueInvalid",
        "message",
        `Invalid value: ${JSON.stringify(message.slice(0, 10))}: must have a maximum length of 2048 characters`,
      );
  } else if (rule?.trim().includes("\n") === true)
    add("FieldValueRequired", "message", "Required value: message must be specified if rule contains line breaks");
  if (expression !== "" && expression?.trim() === "")
    add("FieldValueRequired", "messageExpression", "Required value: messageExpression must be non-empty if specified");
  const reason = asString(source["reason"]);
  if (reason !== "" && !reasons.includes(reason))
    add(
      "FieldValueNotSupported",
      "reason",
      `Unsupported value: ${JSON.stringify(reason)}: supported values: ${reasons.map((one) => JSON.stringify(one)).join(", ")}`,
    );
}

/** A rule as upstream prints it: Go's names, Go's JSON. */
function dump(source: JsonObject): string {
  const rule = {
    Rule: asString(source["rule"]),
    Message: asString(source["message"]),
    MessageExpression: asString(source["messageExpression"]),
    Reason: source["reason"] ?? null,
    FieldPath: asString(source["fieldPath"]),
    OptionalOldSelf: source["optionalOldSelf"] ?? null,
  };
  return JSON.stringify(rule).replaceAll(/[<>&]/g, (sign) => `\\u00${sign.charCodeAt(0).toString(16)}`);
}

const mostExpensiveShown = 4;

function checkTotal(path: string, { causes, costs }: Checking): void {
  const total = costs.reduce((sum, { cost }) => sum + cost, 0);
  if (total <= totalCostLimit) return;
  const dear = costs.toSorted((a, b) => b.cost - a.cost).slice(0, mostExpensiveShown);
  for (const { path: field, cost } of dear)
    if (cost > ruleCostLimit / 10)
      causes.push({
        reason: "FieldValueForbidden",
        message: "Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema",
        field,
      });
  causes.push({
    reason: "FieldValueForbidden",
    message: `Forbidden: ${costWords("x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema", total, totalCostLimit)}`,
    field: path,
  });
}
