import type { Random } from "../../../../kernel/clock/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { isObject, objectAt, stringAt } from "../../fields.js";
import { type WebhookCaller, WebhookError } from "./call.js";

/** Upstream waits as long. */
const timeoutSeconds = 30;

/** Asks a definition's conversion webhook (ConversionReview v1). Throws `WebhookError`. */
export async function askForConversion(
  { caller, random }: { readonly caller: WebhookCaller; readonly random: Random },
  webhook: JsonObject,
  wanted: { readonly objects: readonly JsonObject[]; readonly apiVersion: string },
): Promise<readonly JsonObject[]> {
  const review: JsonObject = {
    kind: "ConversionReview",
    apiVersion: "apiextensions.k8s.io/v1",
    request: { uid: random.uuid(), desiredAPIVersion: wanted.apiVersion, objects: [...wanted.objects] },
    response: { uid: "", convertedObjects: null, result: { metadata: {} } },
  };
  const spec = { clientConfig: objectAt(webhook, "clientConfig"), timeoutSeconds };
  const response = await caller.ask({ spec }, review);
  const result = objectAt(response, "result");
  if (result["status"] !== "Success")
    throw new WebhookError(
      stringAt(result, "message") || `the webhook answered ${JSON.stringify(result["status"] ?? "")}`,
    );
  const converted = response["convertedObjects"];
  const objects = Array.isArray(converted) ? converted.filter(isObject) : [];
  if (objects.length !== wanted.objects.length)
    throw new WebhookError(`it returned ${objects.length} objects, expected ${wanted.objects.length}`);
  return objects;
}
