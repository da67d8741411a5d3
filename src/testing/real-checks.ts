import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { ObjectCheck } from "../cluster/apiserver/index.js";
import type { ApiClient } from "../kernel/client/index.js";
import { systemClock } from "../kernel/clock/index.js";
import { ApiError, type StatusCause } from "../kernel/errors/index.js";
import type { Authority } from "../kernel/identity/index.js";
import { ConfigMapKind, type JsonObject, ValidatingWebhookConfigurationKind } from "../kernel/kinds/index.js";

interface Review {
  readonly request: {
    readonly uid: string;
    readonly object: JsonObject & { readonly apiVersion: string; readonly kind: string };
    readonly oldObject: JsonObject | null;
  };
}

/** What this is refused with says that the hooks are in force. */
const probe = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "checks-are-in-force", namespace: "default" } };
const words: Readonly<Record<string, string>> = {
  FieldValueInvalid: "Invalid value: ",
  FieldValueRequired: "Required value: ",
  FieldValueForbidden: "Forbidden: ",
};

/**
 * Lets a real API server ask checks that ours would ask itself: by a validating webhook. They are in force when this resolves; returns
 * what ends the hook's server.
 */
export async function serveChecks(
  client: ApiClient,
  authority: Authority,
  checks: readonly ObjectCheck[],
): Promise<() => Promise<void>> {
  const { certPem, keyPem } = await authority.issueServer(["127.0.0.1"]);
  const server = createServer({ cert: certPem, key: keyPem }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const review = JSON.parse(Buffer.concat(chunks).toString()) as Review;
      void answer(checks, review).then((verdict) =>
        response.end(JSON.stringify({ ...review, response: { uid: review.request.uid, ...verdict } })),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  await client.resource(ValidatingWebhookConfigurationKind).create({
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingWebhookConfiguration",
    metadata: { name: "checks" },
    webhooks: [
      { group: "", resources: ["configmaps"] },
      ...checks.map(({ group }) => ({ group, resources: ["*"] })),
    ].map(({ group, resources }, index) => ({
      name: `check-${index}.argosy.dev`,
      clientConfig: {
        url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
        caBundle: Buffer.from(authority.caPem).toString("base64"),
      },
      rules: [{ apiGroups: [group], apiVersions: ["*"], operations: ["CREATE", "UPDATE"], resources }],
      ...(group === ""
        ? { matchConditions: [{ name: "probe", expression: `object.metadata.name == "${probe.metadata.name}"` }] }
        : {}),
      sideEffects: "None",
      admissionReviewVersions: ["v1"],
    })),
  });
  await inForce(client);
  return async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
}

async function inForce(client: ApiClient): Promise<void> {
  for (let attempt = 0; attempt < 600; attempt += 1) {
    try {
      await client.resource(ConfigMapKind).create(probe, { namespace: "default", dryRun: true });
    } catch (error) {
      if (error instanceof ApiError && error.message.includes(probe.metadata.name)) return;
      throw error;
    }
    await systemClock.sleep(50);
  }
  throw new Error("the real server does not ask the checks");
}

async function answer(checks: readonly ObjectCheck[], { request }: Review): Promise<JsonObject> {
  const { object, oldObject } = request;
  if (object.kind === "ConfigMap") return refusal([{ reason: "", message: probe.metadata.name, field: "metadata" }]);
  const group = object.apiVersion.split("/")[0];
  const warnings: string[] = [];
  for (const check of checks) {
    if (check.group !== group || check.kind !== object.kind) continue;
    const found = await check.review(object, oldObject ?? undefined);
    if (found.faults.length > 0) return refusal(found.faults);
    warnings.push(...found.warnings);
  }
  return { allowed: true, warnings };
}

function refusal(faults: readonly StatusCause[]): JsonObject {
  const message = faults
    .map(({ field, reason, message: text }) => `${field}: ${words[reason] ?? ""}${text}`)
    .join(", ");
  return { allowed: false, status: { code: 422, reason: "Invalid", message } };
}
