import type { Faults } from "../../../kernel/kinds/index.js";
import {
  label1035Faults,
  pathSegmentFaults,
  qualifiedNameFaults,
  subdomainFaults,
} from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { AdmissionExpressions, compileConditions, type Expression } from "../cel/index.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import { asList, asObject, asObjects, asString, at, ensureObject, isEmpty, setDefault } from "../registry/read.js";
import { showSelector, textAt } from "./common.js";
import { validateChoice, validateMatchResources } from "./match-rules.js";
import { validateSelector } from "./selectors.js";

const reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge"];

function defaultMatch(match: JsonObject): void {
  setDefault(match, "matchPolicy", "Equivalent");
  ensureObject(match, "namespaceSelector");
  ensureObject(match, "objectSelector");
  for (const field of ["resourceRules", "excludeResourceRules"])
    for (const rule of asObjects(match[field])) setDefault(rule, "scope", "*");
}

function defaultsAt(object: JsonObject, field: string): void {
  const match = at(object, "spec", field);
  if (match !== undefined && match !== null) defaultMatch(asObject(match));
}

function reportFault(
  { text, fault, isLate }: Expression,
  path: string,
  faults: Faults,
  empty = "expression is not specified",
): void {
  if (text.trim() === "") faults.required(path, empty);
  else if (fault !== undefined && isLate) faults.internal(path, fault);
  else if (fault !== undefined) faults.invalid(path, text, fault);
}

/** Faults of `matchConditions`. */
export function validateConditions(list: Json | undefined, path: string, faults: Faults): void {
  const conditions = asObjects(list);
  if (conditions.length === 0) return;
  const compiled = compileConditions(new AdmissionExpressions({ hasParams: false, variables: [] }), list);
  reportConditions(conditions, compiled, path, faults);
}

function reportConditions(
  conditions: readonly JsonObject[],
  compiled: readonly Expression[],
  path: string,
  faults: Faults,
): void {
  const names = new Set<string>();
  if (conditions.length > 64) faults.tooMany(path, conditions.length, 64);
  for (const [index, condition] of conditions.entries()) {
    const expression = compiled[index];
    if (expression !== undefined) reportFault(expression, `${path}[${index}].expression`, faults, "");
    const name = asString(condition["name"]);
    if (name === "") faults.required(`${path}[${index}].name`);
    else for (const fault of qualifiedNameFaults(name)) faults.invalid(`${path}[${index}].name`, name, fault);
    if (name !== "" && names.has(name)) faults.duplicate(`${path}[${index}].name`, name);
    names.add(name);
  }
}

function validateExpressions(spec: JsonObject, name: string, faults: Faults): void {
  const hasParams = spec["paramKind"] !== undefined && spec["paramKind"] !== null;
  const expressions = new AdmissionExpressions({ hasParams, variables: asObjects(spec["variables"]) });
  const alone = new AdmissionExpressions({ hasParams, variables: [] });
  const conditions = asObjects(spec["matchConditions"]);
  reportConditions(conditions, compileConditions(alone, spec["matchConditions"]), "spec.matchConditions", faults);
  for (const [index, variable] of expressions.variables.entries()) {
    const path = `spec.variables[${index}]`;
    if (variable.name.trim() === "") faults.required(`${path}.name`, "name is not specified");
    else if (!isIdentifier(variable.name))
      faults.invalid(`${path}.name`, variable.name, "must be a valid CEL identifier");
    reportFault(variable, `${path}.expression`, faults);
  }
  if (isEmpty(spec["validations"]) && isEmpty(spec["auditAnnotations"])) {
    for (const field of ["validations", "auditAnnotations"])
      faults.required(`spec.${field}`, "validations or auditAnnotations must contain at least one item");
    return;
  }
  for (const [index, validation] of asObjects(spec["validations"]).entries())
    validateValidation(validation, `spec.validations[${index}]`, { expressions, faults });
  validateAnnotations(asObjects(spec["auditAnnotations"]), name, { expressions, faults });
}

const reservedWords = new Set(
  "true false null in as break const continue else for function if import let loop package namespace return var void while".split(
    " ",
  ),
);

function isIdentifier(name: string): boolean {
  return /^[A-Za-z_]\w*$/.test(name) && !reservedWords.has(name);
}

interface Checking {
  readonly expressions: AdmissionExpressions;
  readonly faults: Faults;
}

const maxAnnotations = 20;

function validateAnnotations(
  annotations: readonly JsonObject[],
  policyName: string,
  { expressions, faults }: Checking,
): void {
  if (annotations.length > maxAnnotations)
    faults.invalid(
      "spec.auditAnnotations",
      [...annotations],
      `must not have more than ${maxAnnotations} auditAnnotations`,
    );
  const keys = new Set<string>();
  for (const [index, annotation] of annotations.entries()) {
    const path = `spec.auditAnnotations[${index}]`;
    const key = asString(annotation["key"]);
    const whole = `${policyName}/${key}`;
    if (policyName === "") faults.invalid(`${path}.key`, key, "requires metadata.name be non-empty");
    else for (const fault of qualifiedNameFaults(whole)) faults.invalid(`${path}.key`, whole, fault);
    const value = expressions.compile("", asString(annotation["valueExpression"]), "string or null");
    reportFault(value, `${path}.valueExpression`, faults, "valueExpression is not specified");
    if (keys.has(key)) faults.duplicate(`${path}.key`, key);
    keys.add(key);
  }
}

function validateValidation(validation: JsonObject, path: string, { expressions, faults }: Checking): void {
  reportFault(expressions.compile("", asString(validation["expression"]), "bool"), `${path}.expression`, faults);
  const messageExpression = asString(validation["messageExpression"]);
  if (messageExpression !== "" && messageExpression.trim() === "")
    faults.invalid(`${path}.messageExpression`, messageExpression, "must be non-empty if specified");
  else if (messageExpression !== "")
    reportFault(expressions.compileMessage(messageExpression), `${path}.messageExpression`, faults);
  const message = asString(validation["message"]);
  if (message !== "" && message.trim() === "")
    faults.invalid(`${path}.message`, message, "must be non-empty if specified");
  else if (/[\n\r]/.test(message.trim())) faults.invalid(`${path}.message`, message, "must not contain line breaks");
  const { reason } = validation;
  if (reason !== undefined && reason !== null && !reasons.includes(asString(reason)))
    faults.unsupported(`${path}.reason`, reason, reasons);
}

function validateParamKind(kind: JsonObject, faults: Faults): void {
  const path = "spec.paramKind";
  const apiVersion = asString(kind["apiVersion"]);
  const parts = apiVersion === "/" ? ["", ""] : apiVersion.split("/");
  const [group, version] = parts.length === 1 ? ["", parts[0] ?? ""] : [parts[0] ?? "", parts[1] ?? ""];
  if (apiVersion === "") faults.required(`${path}.apiVersion`);
  else if (parts.length > 2)
    faults.invalid(`${path}.apiVersion`, apiVersion, `unexpected GroupVersion string: ${apiVersion}`);
  else {
    const groupFaults = group === "" ? [] : subdomainFaults(group);
    if (groupFaults.length > 0) faults.invalid(`${path}.apiVersion`, group, groupFaults.join(","));
    const versionFaults = label1035Faults(version);
    if (version === "") faults.invalid(`${path}.apiVersion`, apiVersion, "version must be specified");
    else if (versionFaults.length > 0) faults.invalid(`${path}.apiVersion`, version, versionFaults.join(","));
  }
  const name = asString(kind["kind"]);
  const nameFaults = label1035Faults(name.toLowerCase());
  if (name === "") faults.required(`${path}.kind`);
  else if (nameFaults.length > 0)
    faults.invalid(`${path}.kind`, name, `may have mixed case, but should otherwise match: ${nameFaults.join(",")}`);
}

const policy: Behaviour = {
  anyFinalizers: true,
  resets: { status: [["metadata"], ["spec"]] },
  needsVersion: true,
  generation: true,
  complete: true,
  defaults(object) {
    setDefault(ensureObject(object, "spec"), "failurePolicy", "Fail");
    defaultsAt(object, "matchConstraints");
  },
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    const place = { path: "spec", faults };
    if (spec["failurePolicy"] === undefined) faults.required("spec.failurePolicy");
    validateChoice(spec, "failurePolicy", ["Fail", "Ignore"], place);
    const { paramKind: kind, matchConstraints: match } = spec;
    if (kind !== undefined && kind !== null) validateParamKind(asObject(kind), faults);
    if (match === undefined || match === null) faults.required("spec.matchConstraints");
    else {
      validateMatchResources(asObject(match), "spec.matchConstraints", faults);
      if (isEmpty(asObject(match)["resourceRules"])) faults.required("spec.matchConstraints.resourceRules");
    }
    validateExpressions(spec, asString(at(object, "metadata", "name")), faults);
  },
  columns: [
    column("Validations", (object) => asList(at(object, "spec", "validations")).length, { type: "integer" }),
    column("ParamKind", (object) => {
      const kind = at(object, "spec", "paramKind");
      return kind === undefined ? "<unset>" : `${asString(at(kind, "apiVersion"))}/${asString(at(kind, "kind"))}`;
    }),
  ],
};

const actions = ["Audit", "Deny", "Warn"];

function validateActions(list: readonly Json[], faults: Faults): void {
  const path = "spec.validationActions";
  for (const [index, action] of list.entries()) {
    if (!actions.includes(asString(action))) faults.unsupported(`${path}[${index}]`, action, actions);
    if (list.indexOf(action) < index) faults.duplicate(`${path}[${index}]`, action);
  }
  if (list.includes("Deny") && list.includes("Warn"))
    faults.invalid(
      path,
      [...list],
      "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
    );
  if (list.length === 0) faults.required(path, "at least one validation action is required");
}

function validateParamRef(ref: JsonObject, faults: Faults): void {
  const path = "spec.paramRef";
  const name = asString(ref["name"]);
  const { selector } = ref;
  const bySelector = selector !== undefined && selector !== null;
  if (name !== "") {
    for (const fault of pathSegmentFaults(name)) faults.invalid(`${path}.name`, name, fault);
    if (bySelector) faults.forbidden(`${path}.name`, "name and selector are mutually exclusive");
  }
  if (bySelector) {
    validateSelector(selector, `${path}.selector`, faults);
    if (name !== "") faults.forbidden(`${path}.selector`, "name and selector are mutually exclusive");
  }
  if (name === "" && !bySelector) faults.required(path, "one of name or selector must be specified");
  const action = asString(ref["parameterNotFoundAction"]);
  if (action === "") faults.required(`${path}.parameterNotFoundAction`);
  else validateChoice(ref, "parameterNotFoundAction", ["Deny", "Allow"], { path, faults });
}

const binding: Behaviour = {
  anyFinalizers: true,
  needsVersion: true,
  generation: true,
  complete: true,
  defaults: (object) => defaultsAt(object, "matchResources"),
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    const name = asString(spec["policyName"]);
    if (name === "") faults.required("spec.policyName");
    else for (const fault of subdomainFaults(name)) faults.invalid("spec.policyName", name, fault);
    if (spec["paramRef"] !== undefined && spec["paramRef"] !== null)
      validateParamRef(asObject(spec["paramRef"]), faults);
    if (spec["matchResources"] !== undefined && spec["matchResources"] !== null)
      validateMatchResources(asObject(spec["matchResources"]), "spec.matchResources", faults);
    validateActions(asList(spec["validationActions"]), faults);
  },
  columns: [
    column("PolicyName", (object) => textAt(object, "spec", "policyName")),
    column("ParamRef", (object) => showParameters(asObject(at(object, "spec", "paramRef")))),
  ],
};

function showParameters(reference: JsonObject): string {
  const [name, namespace] = [asString(reference["name"]), asString(reference["namespace"])];
  if (name !== "") return `${namespace === "" ? "*" : namespace}/${name}`;
  return reference["selector"] === undefined ? "<unset>" : showSelector(reference["selector"]);
}

/** Policies written in CEL, and where they apply. */
export const admissionPolicyBehaviours: BehaviourTable = {
  "admissionregistration.k8s.io/ValidatingAdmissionPolicy": policy,
  "admissionregistration.k8s.io/ValidatingAdmissionPolicyBinding": binding,
};
