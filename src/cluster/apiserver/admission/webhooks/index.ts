/**
 * Admission by programs outside (AdmissionReview v1). In: webhook configurations from the store, admission requests. Out:
 * patched objects, refusals, warnings. May use: node:https, kernel, the API server's store, verbs' JSON patch and types.
 */
import type { Clock, Random } from "../../../../kernel/clock/index.js";
import { ApiError, messageOf } from "../../../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../../../kernel/kinds/object.js";
import type { Logger } from "../../../../kernel/log/index.js";
import type { Connect } from "../../../../kernel/netns/index.js";
import { AdmissionExpressions, compileConditions, conditionsHold, type Expression } from "../../cel/index.js";
import { denied, forbidden, internalError } from "../../failures.js";
import { copy, equalJson, objectAt, stringAt, stringsAt } from "../../fields.js";
import type { AdmissionPlugin, AdmissionRequest, Authorizer, Store } from "../../types.js";
import { applyJsonPatch } from "../../verbs/json-patch.js";
import { requestVariables } from "../expressions.js";
import { kindOf, optionsOf, shown, userInfoOf } from "../review.js";
import { CallError, type WebhookCaller, webhookCaller } from "./call.js";
import { askForConversion } from "./conversion.js";
import { matches, type Webhook, type WebhookKind, webhooksOf } from "./match.js";

export interface WebhookOptions {
  readonly store: Store;
  readonly authorizer: Authorizer;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly connect: Connect;
  /** Asked again when a webhook changed the object: it may have added a container, say. */
  readonly reinvoked: readonly AdmissionPlugin[];
}

/** Conversion of custom resources, by the same caller. */
export interface Conversions {
  /** Sends objects to a definition's conversion webhook. Throws `WebhookError`. */
  readonly convert: (
    webhook: JsonObject,
    objects: readonly JsonObject[],
    apiVersion: string,
  ) => Promise<readonly JsonObject[]>;
}

const maxWarningLength = 256;

/** Asks mutating webhooks one after the other, and validating ones all at once. */
export function webhookAdmission(options: WebhookOptions): AdmissionPlugin & Conversions & { close(): void } {
  const { store } = options;
  const caller = webhookCaller(store, options);
  const asking = { ...options, caller };
  return {
    name: "Webhooks",
    close: () => caller.close(),
    convert: (webhook, objects, apiVersion) => askForConversion(asking, webhook, { objects, apiVersion }),
    mutate(request) {
      const chosen = chosenFor(store, "mutatingwebhookconfigurations", request);
      return chosen.length === 0 ? undefined : mutateByAll(chosen, request, asking);
    },
    validate(request) {
      const chosen = chosenFor(store, "validatingwebhookconfigurations", request);
      return chosen.length === 0 ? undefined : validateByAll(chosen, request, asking);
    },
  };
}

function chosenFor(store: Store, kind: WebhookKind, request: AdmissionRequest): Webhook[] {
  return webhooksOf(store, kind).filter((webhook) => matches(store, webhook, request));
}

async function mutateByAll(chosen: readonly Webhook[], request: AdmissionRequest, asking: Asking): Promise<void> {
  const before = request.object === undefined ? undefined : copy(request.object);
  const seen = new Map<Webhook, JsonObject | undefined>();
  for (const webhook of chosen) {
    await mutateBy(webhook, request, asking);
    seen.set(webhook, request.object === undefined ? undefined : copy(request.object));
  }
  if (!equalJson(before, request.object)) for (const plugin of asking.reinvoked) await plugin.mutate?.(request);
  for (const webhook of chosen) {
    const isStale = !equalJson(seen.get(webhook), request.object);
    if (isStale && stringAt(webhook.spec, "reinvocationPolicy") === "IfNeeded") {
      await mutateBy(webhook, request, asking);
    }
  }
}

async function validateByAll(chosen: readonly Webhook[], request: AdmissionRequest, asking: Asking): Promise<void> {
  const results = await Promise.allSettled(chosen.map((webhook) => ask(webhook, request, asking)));
  const refused = results.find((result) => result.status === "rejected");
  if (refused !== undefined) throw refused.reason;
}

interface Asking extends WebhookOptions {
  readonly caller: WebhookCaller;
}

async function mutateBy(webhook: Webhook, request: AdmissionRequest, asking: Asking): Promise<void> {
  const response = await ask(webhook, request, asking);
  const patch = response === undefined ? "" : stringAt(response, "patch");
  if (patch === "" || request.object === undefined) return;
  try {
    replace(request, applyJsonPatch(request.object, patchIn(patch)));
  } catch (error) {
    if (isIgnored(webhook)) return asking.log.warn("webhook's patch ignored", { webhook: webhook.id, err: error });
    throw internalError(
      `failed to apply the patch of webhook ${JSON.stringify(webhook.name)}: ${messageOf(error)}`,
      error,
    );
  }
}

function patchIn(encoded: string): Json {
  const patch: Json = JSON.parse(Buffer.from(encoded, "base64").toString("utf8"));
  return patch;
}

/** The request's object becomes the patched one: same identity, decoded and completed like any body. */
function replace({ type, body = type, object }: AdmissionRequest, patched: JsonObject): void {
  if (object === undefined) return;
  const decoded = body.decode(patched).object;
  body.applyDefaults(decoded);
  for (const field of Object.keys(object)) delete object[field];
  Object.assign(object, decoded);
}

/** The webhook's answer if it allows the request; `undefined` when it failed and its failures are ignored. Throws its refusal, or 500. */
async function ask(webhook: Webhook, request: AdmissionRequest, asking: Asking): Promise<JsonObject | undefined> {
  if (!isMeant(webhook, request, asking)) return undefined;
  try {
    const response = await asking.caller.ask(webhook, reviewOf(request, asking.random.uuid()));
    for (const warning of stringsAt(response, "warnings").slice(0, 16))
      request.warn(warning.slice(0, maxWarningLength));
    if (response["allowed"] === true) return response;
    throw refusal(webhook, objectAt(response, "status"));
  } catch (error) {
    if (error instanceof ApiError) throw error;
    if (isIgnored(webhook)) {
      asking.log.warn("webhook failed and is ignored", { webhook: webhook.id, err: error });
      return undefined;
    }
    const why = error instanceof CallError ? `failed to call webhook: ${error.message}` : messageOf(error);
    throw internalError(`failed calling webhook ${JSON.stringify(webhook.name)}: ${why}`, error);
  }
}

const compiledConditions = new WeakMap<JsonObject, readonly Expression[]>();

/** Whether the webhook's match conditions hold. Throws 403 if they cannot be said to, unless its failures are ignored. */
function isMeant(webhook: Webhook, request: AdmissionRequest, asking: Asking): boolean {
  const { spec } = webhook;
  if (!Array.isArray(spec["matchConditions"]) || spec["matchConditions"].length === 0) return true;
  const compiled =
    compiledConditions.get(spec) ??
    compileConditions(new AdmissionExpressions({ hasParams: false, variables: [] }), spec["matchConditions"]);
  compiledConditions.set(spec, compiled);
  const found = conditionsHold(compiled, requestVariables(asking, request));
  if (found.error === undefined) return found.holds;
  if (!isIgnored(webhook)) throw forbidden(request.type, request.name, found.error);
  asking.log.warn("webhook's match conditions failed and it is left out", { webhook: webhook.id, err: found.error });
  return false;
}

function isIgnored({ spec }: Webhook): boolean {
  return stringAt(spec, "failurePolicy") === "Ignore";
}

function refusal(webhook: Webhook, status: JsonObject): ApiError {
  const code =
    typeof status["code"] === "number" && status["code"] >= 400 && status["code"] < 600 ? status["code"] : 403;
  const why = stringAt(status, "message") || stringAt(status, "reason");
  return denied(webhook.name, why, code, stringAt(status, "reason") || "Forbidden");
}

function reviewOf(request: AdmissionRequest, uid: string): JsonObject {
  const { type, subresource, operation, object, old } = request;
  const kind = kindOf(request);
  const resource = { group: type.group, version: type.version, resource: type.plural };
  const sub = subresource === "" ? {} : { subResource: subresource, requestSubResource: subresource };
  return {
    kind: "AdmissionReview",
    apiVersion: "admission.k8s.io/v1",
    request: {
      uid,
      kind,
      resource,
      ...sub,
      requestKind: kind,
      requestResource: resource,
      ...(request.name === "" ? {} : { name: request.name }),
      ...(request.namespace === "" ? {} : { namespace: request.namespace }),
      operation,
      userInfo: userInfoOf(request),
      object: shown(object, request),
      oldObject: shown(old, request),
      dryRun: request.dryRun,
      options: optionsOf(request),
    },
  };
}
