import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { AdmissionExpressions, compileConditions, type Expression } from "../cel/index.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import type { Faults } from "../registry/faults.js";
import { qualifiedNameFaults } from "../registry/names.js";
import { asList, asObject, asObjects, asString, at, ensureObject, isEmpty, setDefaultText } from "../registry/read.js";
import { showSelector, textAt } from "./common.js";

const operations = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge"];

function defaultMatch(match: JsonObject): void {
  setDefaultText(match, "matchPolicy", "Equivalent");
  ensureObject(match, "namespaceSelector");
  ensureObject(match, "objectSelector");
  for (const field of ["resourceRules", "excludeResourceRules"])
    for (const rule of asObjects(match[field])) setDefaultText(rule, "scope", "*");
}

function defaultsAt(object: JsonObject, field: string): void {
  const match = at(object, "spec", field);
  if (match !== undefined && match !== null) defaultMatch(asObject(match));
}

function validateMatch(match: JsonObject, path: string, faults: Faults): void {
  const policy = asString(match["matchPolicy"]);
  if (policy !== "" && !["Equivalent", "Exact"].includes(policy))
    faults.unsupported(`${path}.matchPolicy`, policy, ["Equivalent", "Exact"]);
  for (const field of ["resourceRules", "excludeResourceRules"])
    for (const [index, rule] of asObjects(match[field]).entries())
      validateRule(rule, `${path}.${field}[${index}]`, faults);
}

function validateRule(rule: JsonObject, path: string, faults: Faults): void {
  for (const field of ["operations", "apiGroups", "apiVersions", "resources"])
    if (isEmpty(rule[field])) faults.required(`${path}.${field}`);
  for (const [index, operation] of asList(rule["operations"]).entries())
    if (!operations.includes(asString(operation)))
      faults.unsupported(`${path}.operations[${index}]`, operation, operations);
}

function reportFault({ text, fault }: Expression, path: string, faults: Faults): void {
  if (text.trim() === "") faults.required(path, `${path.split(".").at(-1) ?? "expression"} is not specified`);
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
  for (const [index, condition] of conditions.entries()) {
    const name = asString(condition["name"]);
    if (name === "") faults.required(`${path}[${index}].name`);
    else for (const fault of qualifiedNameFaults(name)) faults.invalid(`${path}[${index}].name`, name, fault);
    if (names.has(name)) faults.duplicate(`${path}[${index}].name`, name);
    names.add(name);
    const expression = compiled[index];
    if (expression !== undefined) reportFault(expression, `${path}[${index}].expression`, faults);
  }
}

function validateExpressions(spec: JsonObject, name: string, faults: Faults): void {
  const variables = asObjects(spec["variables"]);
  const expressions = new AdmissionExpressions({ hasParams: !isEmpty(spec["paramKind"]), variables });
  for (const [index, variable] of expressions.variables.entries()) {
    if (!/^[A-Za-z_]\w*$/.test(variable.name))
      faults.invalid(`spec.variables[${index}].name`, variable.name, "name is not a valid CEL identifier");
    reportFault(variable, `spec.variables[${index}].expression`, faults);
  }
  const conditions = asObjects(spec["matchConditions"]);
  const compiled = compileConditions(expressions, spec["matchConditions"]);
  reportConditions(conditions, compiled, "spec.matchConditions", faults);
  for (const [index, validation] of asObjects(spec["validations"]).entries())
    validateValidation(validation, `spec.validations[${index}]`, { expressions, faults });
  for (const [index, annotation] of asObjects(spec["auditAnnotations"]).entries()) {
    const path = `spec.auditAnnotations[${index}]`;
    const key = `${name}/${asString(annotation["key"])}`;
    for (const fault of qualifiedNameFaults(key)) faults.invalid(`${path}.key`, key, fault);
    reportFault(expressions.compile("", asString(annotation["valueExpression"])), `${path}.valueExpression`, faults);
  }
}

function validateValidation(
  validation: JsonObject,
  path: string,
  { expressions, faults }: { readonly expressions: AdmissionExpressions; readonly faults: Faults },
): void {
  reportFault(expressions.compile("", asString(validation["expression"]), "bool"), `${path}.expression`, faults);
  const message = asString(validation["message"]);
  if (message.includes("\n")) faults.invalid(`${path}.message`, message, "message must not contain line breaks");
  const messageExpression = asString(validation["messageExpression"]);
  if (messageExpression !== "")
    reportFault(expressions.compile("", messageExpression, "string"), `${path}.messageExpression`, faults);
  const reason = asString(validation["reason"]);
  if (reason !== "" && !reasons.includes(reason)) faults.unsupported(`${path}.reason`, reason, reasons);
}

const policy: Behaviour = {
  needsVersion: true,
  generation: true,
  ownChecks: ["spec"],
  defaults(object) {
    setDefaultText(ensureObject(object, "spec"), "failurePolicy", "Fail");
    defaultsAt(object, "matchConstraints");
  },
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    if (isEmpty(spec["validations"]) && isEmpty(spec["auditAnnotations"]))
      for (const field of ["validations", "auditAnnotations"])
        faults.required(`spec.${field}`, "validations or auditAnnotations must contain at least one item");
    const failure = asString(spec["failurePolicy"]);
    if (failure !== "Fail" && failure !== "Ignore")
      faults.unsupported("spec.failurePolicy", failure, ["Fail", "Ignore"]);
    const match = spec["matchConstraints"];
    if (match === undefined || match === null) faults.required("spec.matchConstraints");
    else {
      if (isEmpty(asObject(match)["resourceRules"])) faults.required("spec.matchConstraints.resourceRules");
      validateMatch(asObject(match), "spec.matchConstraints", faults);
    }
    const kind = spec["paramKind"];
    if (!isEmpty(kind))
      for (const field of ["apiVersion", "kind"])
        if (isEmpty(asObject(kind)[field])) faults.required(`spec.paramKind.${field}`);
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
  if (list.length === 0) faults.required(path, "at least one validation action is required");
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
}

function validateParamRef(ref: JsonObject, faults: Faults): void {
  const path = "spec.paramRef";
  const [byName, bySelector] = [!isEmpty(ref["name"]), ref["selector"] !== undefined && ref["selector"] !== null];
  if (byName && bySelector) faults.forbidden(`${path}.name`, "name and selector are mutually exclusive");
  if (!byName && !bySelector) faults.required(path, "one of name or selector must be specified");
  const action = asString(ref["parameterNotFoundAction"]);
  if (action === "") faults.required(`${path}.parameterNotFoundAction`);
  else if (action !== "Deny" && action !== "Allow")
    faults.unsupported(`${path}.parameterNotFoundAction`, action, ["Allow", "Deny"]);
}

const binding: Behaviour = {
  needsVersion: true,
  generation: true,
  ownChecks: ["spec"],
  defaults: (object) => defaultsAt(object, "matchResources"),
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    if (isEmpty(spec["policyName"])) faults.required("spec.policyName");
    validateActions(asList(spec["validationActions"]), faults);
    if (spec["paramRef"] !== undefined && spec["paramRef"] !== null)
      validateParamRef(asObject(spec["paramRef"]), faults);
    if (spec["matchResources"] !== undefined && spec["matchResources"] !== null)
      validateMatch(asObject(spec["matchResources"]), "spec.matchResources", faults);
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
