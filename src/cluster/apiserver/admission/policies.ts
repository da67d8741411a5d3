import { labelSelectorMatches } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Logger } from "../../../kernel/log/index.js";
import { asObjects } from "../../../kernel/schema/index.js";
import {
  AdmissionExpressions,
  type AdmissionVariables,
  type Budget,
  compileConditions,
  conditionsHold,
  dynamicValue,
  type Expression,
} from "../cel/index.js";
import { failure, qualified } from "../failures.js";
import { isObject, objectAt, stringAt, stringsAt } from "../fields.js";
import { listPrefix, objectKey } from "../store/keys.js";
import type { AdmissionPlugin, AdmissionRequest, Authorizer, ResourceType, Store } from "../types.js";
import { requestBudget, requestVariables } from "./expressions.js";
import { labelsOf, resourcesMatch, selectorAt } from "./webhooks/match.js";

const group = "admissionregistration.k8s.io";
const policies = { group, plural: "validatingadmissionpolicies" };
const bindings = { group, plural: "validatingadmissionpolicybindings" };
const maxMessageLength = 5 * 1024;
const maxAnnotationLength = 10 * 1024;

interface PolicyOptions {
  readonly store: Store;
  readonly authorizer: Authorizer;
  readonly types: () => readonly ResourceType[];
  readonly log: Logger;
}

interface CompiledPolicy {
  readonly expressions: AdmissionExpressions;
  readonly conditions: readonly Expression[];
  readonly validations: readonly {
    readonly expression: Expression;
    readonly source: JsonObject;
    readonly message: Expression | undefined;
  }[];
  readonly annotations: readonly Expression[];
}

/** One policy with one binding, asked about one request. */
interface Case {
  readonly policy: JsonObject;
  readonly binding: JsonObject;
  readonly compiled: CompiledPolicy;
  readonly request: AdmissionRequest;
  readonly variables: AdmissionVariables;
}

interface Refusal {
  readonly message: string;
  readonly reason: string;
  /** Of the validation; 0 for what is no validation's. */
  readonly index: number;
  /** It refuses whatever the binding's actions are. */
  readonly isFinal?: boolean;
}

/** What policies have to say to the audit log: values by key, each once. */
type Annotations = Map<string, Set<string>>;

/** ValidatingAdmissionPolicies and their bindings. */
export function policyAdmission(options: PolicyOptions): AdmissionPlugin {
  const { store } = options;
  const compiled = new WeakMap<JsonObject, CompiledPolicy>();
  return {
    name: "ValidatingAdmissionPolicy",
    validate(request) {
      const bound = store.list(listPrefix(bindings, "")).items;
      if (bound.length === 0) return;
      const found: { at: Case; refusals: readonly Refusal[] }[] = [];
      const variables = requestVariables(options, request);
      const annotations: Annotations = new Map();
      for (const { value: binding } of bound) {
        const name = stringAt(objectAt(binding, "spec"), "policyName");
        const policy = store.get(objectKey(policies, "", name))?.value;
        if (policy === undefined || !applies(store, policy, binding, request)) continue;
        const ready = compiled.get(policy) ?? compilePolicy(policy);
        compiled.set(policy, ready);
        const at = { policy, binding, compiled: ready, request, variables };
        found.push({ at, refusals: evaluate(at, options, annotations) });
      }
      for (const [key, values] of annotations) request.audit?.annotate(key, [...values].join(", "));
      noteFailures(found, request);
      enforce(found, request);
    },
  };
}

function applies(store: Store, policy: JsonObject, binding: JsonObject, request: AdmissionRequest): boolean {
  const constraints = objectAt(objectAt(policy, "spec"), "matchConstraints");
  const resources = objectAt(binding, "spec")["matchResources"];
  return (
    resourcesMatch(store, constraints, request) && (!isObject(resources) || resourcesMatch(store, resources, request))
  );
}

function compilePolicy(policy: JsonObject): CompiledPolicy {
  const spec = objectAt(policy, "spec");
  const expressions = new AdmissionExpressions({
    hasParams: isObject(spec["paramKind"]),
    variables: asObjects(spec["variables"]),
  });
  return {
    expressions,
    conditions: compileConditions(expressions, spec["matchConditions"]),
    validations: asObjects(spec["validations"]).map((source) => ({
      source,
      expression: expressions.compile("", stringAt(source, "expression"), "bool"),
      message:
        stringAt(source, "messageExpression") === ""
          ? undefined
          : expressions.compile("", stringAt(source, "messageExpression"), "string"),
    })),
    annotations: asObjects(spec["auditAnnotations"]).map((one) =>
      expressions.compile(stringAt(one, "key"), stringAt(one, "valueExpression")),
    ),
  };
}

function evaluate(at: Case, options: PolicyOptions, annotations: Annotations): Refusal[] {
  const params = paramsOf(at, options);
  if ("error" in params) return failed(at, `failed to configure binding: ${params.error}`).map(asFinal);
  return params.found.flatMap((param) => {
    const given = withParams(at.variables, param);
    const budget = { left: requestBudget };
    const variables = at.compiled.expressions.bind(given, budget);
    const condition = conditionsHold(at.compiled.conditions, variables);
    if (condition.error !== undefined) return failed(at, condition.error);
    if (!condition.holds) return [];
    return [...refusalsOf(at, variables, budget), ...annotate(at, variables, annotations)];
  });
}

const asFinal = (refusal: Refusal): Refusal => ({ ...refusal, isFinal: true });

/** Adds `params`; what is made when it is read stays so. */
function withParams(variables: AdmissionVariables, param: JsonObject | null | undefined): AdmissionVariables {
  if (param === undefined) return variables;
  const params = { value: dynamicValue(param), enumerable: true };
  return Object.defineProperties({}, { ...Object.getOwnPropertyDescriptors(variables), params });
}

function failed({ policy }: Case, message: string, index = 0): Refusal[] {
  return stringAt(objectAt(policy, "spec"), "failurePolicy") === "Ignore"
    ? []
    : [{ message, reason: "Invalid", index }];
}

/** Evaluates `auditAnnotations`; one that fails refuses the request, as a validation does. */
function annotate(at: Case, variables: AdmissionVariables, annotations: Annotations): Refusal[] {
  const budget = { left: requestBudget };
  return at.compiled.annotations.flatMap(({ name, text, program, fault }, index) => {
    try {
      if (program === undefined) return failed(at, fault ?? "", index).map(asFinal);
      const value = program.run(variables, budget);
      const shown = typeof value === "string" ? value.trim().slice(0, maxAnnotationLength) : "";
      const key = `${nameOf(at.policy)}/${name}`;
      if (shown !== "") annotations.set(key, (annotations.get(key) ?? new Set()).add(shown));
      return [];
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      return failed(at, `expression '${text.trim()}' resulted in error: ${error.message}`, index).map(asFinal);
    }
  });
}

function refusalsOf(at: Case, variables: AdmissionVariables, budget: Budget): Refusal[] {
  return at.compiled.validations.flatMap(({ expression, source, message }, index) => {
    try {
      if (expression.program === undefined) return failed(at, expression.fault ?? "", index);
      if (expression.program.run(variables, budget) === true) return [];
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      return failed(at, `expression '${expression.text.trim()}' resulted in error: ${error.message}`, index);
    }
    const told = made(message, variables, budget) ?? stringAt(source, "message").trim();
    return [
      {
        message: told === "" ? `failed expression: ${expression.text.trim()}` : told,
        reason: stringAt(source, "reason") || "Invalid",
        index,
      },
    ];
  });
}

/** What a messageExpression makes, if it is fit to be shown. */
function made(message: Expression | undefined, variables: AdmissionVariables, budget: Budget): string | undefined {
  try {
    const value = message?.program?.run(variables, budget);
    const text = typeof value === "string" ? value.trim() : "";
    return text === "" || text.includes("\n") || text.length > maxMessageLength ? undefined : text;
  } catch {
    return undefined;
  }
}

type Params = { readonly found: readonly (JsonObject | null | undefined)[] } | { readonly error: string };

/** The objects that the binding names as parameters; one `undefined` where the policy takes none. */
function paramsOf({ policy, binding, request }: Case, { store, types }: PolicyOptions): Params {
  const kind = objectAt(policy, "spec")["paramKind"];
  if (!isObject(kind)) return { found: [undefined] };
  const ref = objectAt(binding, "spec")["paramRef"];
  if (!isObject(ref)) return { found: [null] };
  const apiVersion = stringAt(kind, "apiVersion");
  const type = types().find(
    (one) => one.kind === stringAt(kind, "kind") && `${one.group}/${one.version}`.replace(/^\//, "") === apiVersion,
  );
  if (type === undefined)
    return {
      error: `failed to find resource referenced by paramKind: '${apiVersion}, Kind=${stringAt(kind, "kind")}'`,
    };
  const namespace = type.namespaced ? stringAt(ref, "namespace") || request.namespace : "";
  if (type.namespaced && namespace === "")
    return { error: "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources" };
  const found = lookUp(store, type, namespace, ref);
  if (found.length > 0) return { found };
  return stringAt(ref, "parameterNotFoundAction") === "Allow"
    ? { found: [] }
    : { error: "no params found for policy binding with `Deny` parameterNotFoundAction" };
}

function lookUp(store: Store, type: ResourceType, namespace: string, ref: JsonObject): JsonObject[] {
  const name = stringAt(ref, "name");
  if (name !== "") {
    const one = store.get(objectKey(type, namespace, name))?.value;
    return one === undefined ? [] : [one];
  }
  const selector = selectorAt(ref, "selector");
  return store
    .list(listPrefix(type, namespace))
    .items.map(({ value }) => value)
    .filter((value) => selector === undefined || labelSelectorMatches(selector, labelsOf(value)));
}

const codes: Readonly<Record<string, number>> = {
  Forbidden: 403,
  Invalid: 422,
  RequestEntityTooLarge: 413,
  Unauthorized: 401,
};

function nameOf(object: JsonObject): string {
  return stringAt(objectAt(object, "metadata"), "name");
}

/** What bindings with the action Audit found, as an annotation of the audit event. */
function noteFailures(found: readonly { at: Case; refusals: readonly Refusal[] }[], request: AdmissionRequest): void {
  const failures = found.flatMap(({ at: { policy, binding }, refusals }) => {
    const validationActions = stringsAt(objectAt(binding, "spec"), "validationActions");
    if (!validationActions.includes("Audit")) return [];
    return refusals
      .filter(({ isFinal = false }) => !isFinal)
      .map(({ message, index }) => ({
        message,
        policy: nameOf(policy),
        binding: nameOf(binding),
        expressionIndex: index,
        validationActions,
      }));
  });
  if (failures.length === 0) return;
  request.audit?.annotate("validation.policy.admission.k8s.io/validation_failure", JSON.stringify(failures));
}

/** Warns, and refuses for the first fault that a binding denies. */
function enforce(found: readonly { at: Case; refusals: readonly Refusal[] }[], request: AdmissionRequest): void {
  let denied: Pick<Refusal, "message" | "reason"> | undefined;
  for (const { at, refusals } of found) {
    const actions = stringsAt(objectAt(at.binding, "spec"), "validationActions");
    const who = `ValidatingAdmissionPolicy '${nameOf(at.policy)}' with binding '${nameOf(at.binding)}'`;
    for (const { message, reason, isFinal = false } of refusals) {
      if (actions.includes("Warn") && !isFinal) request.warn(`Validation failed for ${who}: ${message}`);
      if (actions.includes("Deny") || isFinal) denied ??= { message: `${who} denied request: ${message}`, reason };
    }
  }
  if (denied === undefined) return;
  const { type, name } = request;
  throw failure(
    codes[denied.reason] ?? 422,
    denied.reason,
    `${qualified(type)} ${JSON.stringify(name)} is forbidden: ${denied.message}`,
    {
      name,
      ...(type.group === "" ? {} : { group: type.group }),
      kind: type.plural,
      causes: [{ message: denied.message }],
    },
  );
}
