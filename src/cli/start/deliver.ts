import type { Clock } from "../../kernel/clock/index.js";
import { isNotFound } from "../../kernel/errors/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { asObjects } from "../../kernel/schema/index.js";
import { CommandError } from "../errors.js";
import { parseJsonObject } from "../manifest/json.js";
import { type Connections, exampleNamespace } from "./connections.js";
import { applyObjects, exampleFile, fillManifest } from "./manifests.js";
import type { TrainedModel } from "./train.js";
import { type Check, waitUntil } from "./wait.js";

const service = `/apis/tensorstack.dev/v1beta1/namespaces/${exampleNamespace}/hypermlservices/digits`;
const ingress = `/apis/argosy.dev/v1alpha1/namespaces/${exampleNamespace}/headingresses/digits`;

/** Delivers the model as a HyperMLService and waits until every member's release answered. Returns one line for people. */
export async function deliverModel(
  connections: Connections,
  model: TrainedModel,
  clock: Clock,
  detail: (text: string) => void,
): Promise<string> {
  const objects = await fillManifest(exampleFile("manifests", "hypermlservice.yaml"), {
    MODEL_URI: model.uri,
    S3CFG_BASE64: Buffer.from(await readerConfiguration(connections)).toString("base64"),
  });
  await applyObjects(connections.cluster("hub"), objects);
  const status = await waitUntil(clock, { timeoutMs: 180_000, detail }, () =>
    conditionState(connections, service, ["FullyApplied", "Ready"]),
  );
  const rows = asObjects(status["aggregatedStatus"]).flatMap((row) => {
    const releases = asObjects(parseJsonObject(row["status"])?.["releases"]);
    return releases.map(
      (release) => `${text(row["cluster"])} ${text(release["readyReplicas"])}/${text(release["totalReplicas"])}`,
    );
  });
  return `ready: ${rows.join(", ")} replicas`;
}

/** An s3cmd configuration that can read the artifact store and nothing else, from the hub's Secret. */
async function readerConfiguration(connections: Connections): Promise<string> {
  const secret = parseJsonObject(
    await connections.cluster("hub").json("GET", "/api/v1/namespaces/argosy-system/secrets/artifact-reader"),
  );
  const encoded = parseJsonObject(secret?.["data"])?.[".s3cfg"];
  if (typeof encoded !== "string") {
    throw new CommandError("the hub's Secret argosy-system/artifact-reader holds no .s3cfg");
  }
  return Buffer.from(encoded, "base64").toString("utf8");
}

/** What a status of an earlier start says may be undone within this time, while its pods come up again. */
const settlingMs = 1000;

/**
 * Waits until the gateway carries the HeadIngress with all its weights; returns its public path and one line for people. `resumed`: the
 * conditions may be those of an earlier start, so they must hold for a while.
 */
export async function awaitIngress(
  connections: Connections,
  { clock, resumed, detail }: { clock: Clock; resumed: boolean; detail: (text: string) => void },
): Promise<{ url: string; summary: string }> {
  const holdMs = resumed ? settlingMs : 0;
  const status = await waitUntil(clock, { timeoutMs: 60_000, holdMs, detail }, () =>
    conditionState(connections, ingress, ["Ready", "WeightsEffective"]),
  );
  const backends = asObjects(status["backends"]);
  const weightOf = (backend: JsonObject): number =>
    typeof backend["weightEffective"] === "number" ? backend["weightEffective"] : 0;
  const total = backends.reduce((sum, backend) => sum + weightOf(backend), 0);
  const weights = backends.map(
    (backend) =>
      `${text(backend["cluster"] ?? backend["name"])} ${total === 0 ? 0 : Math.round((weightOf(backend) / total) * 100)} %`,
  );
  const url = status["address"];
  if (typeof url !== "string") {
    throw new CommandError("the HeadIngress is ready but names no address");
  }
  return { url: url.replace(/\/$/, ""), summary: weights.join(", ") };
}

async function conditionState(
  connections: Connections,
  path: string,
  types: readonly string[],
): Promise<Check<JsonObject>> {
  let object: JsonObject;
  try {
    object = parseJsonObject(await connections.cluster("hub").json("GET", path)) ?? {};
  } catch (error) {
    if (isNotFound(error)) {
      return { waitingFor: `${path.split("/").slice(-2).join("/")} to be there` };
    }
    throw error;
  }
  const status = parseJsonObject(object["status"]) ?? {};
  const generation = parseJsonObject(object["metadata"])?.["generation"];
  for (const type of types) {
    const condition = asObjects(status["conditions"]).find((candidate) => candidate["type"] === type);
    if (condition?.["status"] !== "True" || condition["observedGeneration"] !== generation) {
      return { waitingFor: condition === undefined ? `condition ${type}` : `${type}: ${text(condition["message"])}` };
    }
  }
  return { done: status };
}

function text(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "?";
}
