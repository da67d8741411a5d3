import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { ObjectCheck } from "../cluster/apiserver/index.js";
import type { ApiClient } from "../kernel/client/index.js";
import { systemClock, systemRandom } from "../kernel/clock/index.js";
import { ApiError, type StatusCause } from "../kernel/errors/index.js";
import type { Authority } from "../kernel/identity/index.js";
import {
  ConfigMapKind,
  type JsonObject,
  MutatingWebhookConfigurationKind,
  ValidatingWebhookConfigurationKind,
} from "../kernel/kinds/index.js";

interface Review {
  readonly request: {
    readonly uid: string;
    readonly operation: string;
    readonly object: Seen | null;
    readonly oldObject: Seen | null;
  };
}

interface Rule {
  operations: string[];
  apiGroups: string[];
  resources: string[];
}

type Seen = JsonObject & { readonly apiVersion: string; readonly kind: string };

/** What this is refused with says that the hooks are in force. */
const probe = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "checks-are-in-force", namespace: "default" } };
const words: Readonly<Record<string, string>> = {
  FieldValueInvalid: "Invalid value: ",
  FieldValueRequired: "Required value: ",
  FieldValueForbidden: "Forbidden: ",
};

/**
 * Lets a real API server ask checks that ours would ask itself: by a mutating and a validating webhook. They are in force when this resolves; returns
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
      const verdict = request.url?.startsWith("/complete") ? completed(checks, review) : answer(checks, review);
      void verdict.then((answered) =>
        response.end(JSON.stringify({ ...review, response: { uid: review.request.uid, ...answered } })),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const hook = (name: string, path: string, rule: Rule) => ({
    name: `${name}.argosy.dev`,
    clientConfig: {
      url: `https://127.0.0.1:${(server.address() as AddressInfo).port}${path}`,
      caBundle: Buffer.from(authority.caPem).toString("base64"),
    },
    rules: [{ apiVersions: ["*"], ...rule }],
    sideEffects: "None" as const,
    admissionReviewVersions: ["v1"],
  });
  const writes = { operations: ["CREATE", "UPDATE"] };
  const groupsWith = (part: "complete" | "review"): string[] => [
    ...new Set(
      checks.flatMap((check) => (check.about === undefined || check[part] === undefined ? [] : [check.about.group])),
    ),
  ];
  await client.resource(MutatingWebhookConfigurationKind).create({
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "MutatingWebhookConfiguration",
    metadata: { name: "checks" },
    webhooks: groupsWith("complete").map((group, index) =>
      hook(`complete-${index}`, "/complete", { ...writes, apiGroups: [group], resources: ["*"] }),
    ),
  });
  await client.resource(ValidatingWebhookConfigurationKind).create({
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingWebhookConfiguration",
    metadata: { name: "checks" },
    webhooks: [
      ...groupsWith("review").map((group, index) =>
        hook(`check-${index}`, "/", { ...writes, apiGroups: [group], resources: ["*"] }),
      ),
      {
        ...hook("probe", "/", { ...writes, apiGroups: [""], resources: ["configmaps"] }),
        matchConditions: [{ name: "probe", expression: `object.metadata.name == "${probe.metadata.name}"` }],
      },
    ],
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

function checksOf(checks: readonly ObjectCheck[], object: Seen): ObjectCheck[] {
  const group = object.apiVersion.includes("/") ? object.apiVersion.split("/")[0] : "";
  return checks.filter(({ about }) => about !== undefined && about.group === group && about.kind === object.kind);
}

async function completed(checks: readonly ObjectCheck[], { request }: Review): Promise<JsonObject> {
  const { object, oldObject } = request;
  if (object === null) return { allowed: true };
  const now = `${new Date(systemClock.now()).toISOString().slice(0, 19)}Z`;
  for (const check of checksOf(checks, object))
    check.complete?.(object, oldObject ?? undefined, { now, uuid: () => systemRandom.uuid() });
  const patch = Buffer.from(JSON.stringify([{ op: "replace", path: "", value: object }])).toString("base64");
  return { allowed: true, patchType: "JSONPatch", patch };
}

async function answer(checks: readonly ObjectCheck[], { request }: Review): Promise<JsonObject> {
  const { object, oldObject } = request;
  if (object === null) return { allowed: true };
  if (object.kind === "ConfigMap") return refusal([{ reason: "", message: probe.metadata.name, field: "metadata" }]);
  const warnings: string[] = [];
  for (const check of checksOf(checks, object)) {
    const found = await check.review?.(object, oldObject ?? undefined);
    if (found === undefined) continue;
    if (found.faults.length > 0) return refusal(found.faults);
    if (found.denial !== undefined) return { allowed: false, status: { code: 403, message: found.denial.message } };
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
