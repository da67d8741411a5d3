import type { Clock } from "../../kernel/clock/index.js";
import { isNotFound } from "../../kernel/errors/index.js";
import { type Job, JobKind, type Pod, PodKind } from "../../kernel/kinds/index.js";
import { asObjects } from "../../kernel/schema/index.js";
import { CommandError } from "../errors.js";
import { parseJsonObject } from "../manifest/json.js";
import { type Connections, exampleNamespace } from "./connections.js";
import { applyObjects, exampleFile, fillManifest } from "./manifests.js";
import { type Check, waitUntil } from "./wait.js";

const jobName = "train-digits";
const modelName = "digits";

/** The registered model that training left. */
export interface TrainedModel {
  readonly version: string;
  readonly runId: string;
  /** Accuracy on held-out data, as the training program recorded it. */
  readonly accuracy: number;
  /** `s3://…/model/` in the artifact store. */
  readonly uri: string;
  /** Whether an earlier start had trained it. */
  readonly resumed: boolean;
}

/** Trains by a Job in `cloud`, or finds that it has been done. */
export async function trainModel(
  connections: Connections,
  clock: Clock,
  detail: (text: string) => void,
): Promise<TrainedModel> {
  const cloud = connections.cluster("cloud");
  const existing = await cloud.resource(JobKind).find(jobName, { namespace: exampleNamespace });
  const resumed = existing !== undefined && hasCondition(existing, "Complete");
  if (!resumed) {
    await applyTraining(connections, existing);
    await waitUntil(clock, { timeoutMs: 300_000, everyMs: 150, detail }, () => jobState(connections));
  }
  return { ...(await registeredModel(connections)), resumed };
}

async function applyTraining(connections: Connections, existing: Job | undefined): Promise<void> {
  const token = await connections.trainerToken();
  const { ca, addresses } = connections;
  const registry = { type: "mlflow", tracking_uri: addresses.northboundFromPods, token, certificate: ca };
  const objects = await fillManifest(exampleFile("manifests", "train-job.yaml"), {
    TRACKING_URI: addresses.northboundFromPods,
    TRACKING_TOKEN_BASE64: Buffer.from(token).toString("base64"),
    CA_BASE64: Buffer.from(ca).toString("base64"),
    REGISTRY_BASE64: Buffer.from(JSON.stringify(registry)).toString("base64"),
  });
  const cloud = connections.cluster("cloud");
  if (existing !== undefined && hasCondition(existing, "Failed")) {
    await cloud.resource(JobKind).delete(jobName, { namespace: exampleNamespace, propagationPolicy: "Foreground" });
  }
  await applyObjects(cloud, objects);
}

async function jobState(connections: Connections): Promise<Check<true>> {
  const cloud = connections.cluster("cloud");
  let job: Job;
  try {
    job = await cloud.resource(JobKind).get(jobName, { namespace: exampleNamespace });
  } catch (error) {
    if (isNotFound(error)) {
      return { waitingFor: "the Job to be there" };
    }
    throw error;
  }
  if (hasCondition(job, "Complete")) {
    return { done: true };
  }
  const { items } = await cloud
    .resource(PodKind)
    .list({ namespace: exampleNamespace, labelSelector: `job-name=${jobName}` });
  const failed = job.status?.conditions?.find(
    (condition) => condition.type === "Failed" && condition.status === "True",
  );
  if (failed !== undefined) {
    throw new CommandError(
      `the training Job failed: ${failed.message ?? failed.reason ?? ""}; ${items.map(describePod).join("; ")} (see \`argosy logs job/${jobName} -n ${exampleNamespace} --context cloud\`)`,
    );
  }
  return { waitingFor: items.length === 0 ? "a pod of the Job" : items.map(describePod).join("; ") };
}

/** One line about a pod: phase, and why it does not get on. */
export function describePod(pod: Pod): string {
  const states = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])].flatMap(
    (container) => {
      const { waiting, terminated } = container.state ?? {};
      const reason = waiting?.reason ?? terminated?.reason;
      const message = waiting?.message ?? terminated?.message;
      return reason === undefined
        ? []
        : [`${reason}${message === undefined ? "" : ` (${message.trim().slice(0, 300)})`}`];
    },
  );
  const unscheduled = pod.status?.conditions?.find(
    (condition) => condition.type === "PodScheduled" && condition.status === "False",
  );
  return [
    `pod ${pod.metadata.name} ${pod.status?.phase ?? "Pending"}`,
    ...states,
    ...(unscheduled?.message === undefined ? [] : [unscheduled.message]),
  ].join(", ");
}

function hasCondition(job: Job, type: string): boolean {
  return job.status?.conditions?.some((condition) => condition.type === type && condition.status === "True") === true;
}

async function registeredModel(connections: Connections): Promise<Omit<TrainedModel, "resumed">> {
  const answer = await connections.tracking("/api/2.0/mlflow/model-versions/search", {
    filter: `name='${modelName}'`,
    max_results: "100",
  });
  const versions = asObjects(answer["model_versions"]).toSorted(
    (left, right) => Number(right["version"]) - Number(left["version"]),
  );
  const [latest] = versions;
  const { version, run_id: runId, source } = latest ?? {};
  if (typeof version !== "string" || typeof runId !== "string" || typeof source !== "string") {
    throw new CommandError(
      `the training finished, but no version of the model ${modelName} is registered in ${connections.addresses.northbound}`,
    );
  }
  const run = parseJsonObject((await connections.tracking("/api/2.0/mlflow/runs/get", { run_id: runId }))["run"]);
  const metrics = asObjects(parseJsonObject(run?.["data"])?.["metrics"]);
  const accuracy = metrics.find((metric) => metric["key"] === "test_accuracy")?.["value"];
  if (typeof accuracy !== "number") {
    throw new CommandError(`run ${runId} has no metric test_accuracy`);
  }
  return {
    version,
    runId,
    accuracy,
    uri: `${source.replace(/^mlflow-artifacts:\//, "s3://artifacts/").replace(/\/$/, "")}/`,
  };
}
