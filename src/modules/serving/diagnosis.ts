/** Why a release does not answer, read from its pods: a word for machines, a sentence that names cluster and pod for people. */
import { type Deployment, type Pod, timeOf } from "../../kernel/kinds/index.js";

/** Why something is not ready. */
export interface Fault {
  readonly reason: string;
  readonly message: string;
  /** How often it was tried, and when it is tried again: what changes while the fault stays what it is. */
  readonly tries?: string;
}

/** A fault in words, with its tries. */
export const wordsOf = ({ message, tries }: Fault): string => (tries === undefined ? message : `${message} (${tries})`);

type ContainerStatus = NonNullable<NonNullable<Pod["status"]>["containerStatuses"]>[number];

/** Init containers that bring models: MLService's, and the storage initializers of KServe's API. */
const FETCHERS = /^(fetch-model|storage-initializer(-\d+)?)$/;

/** As schedulers say it. */
const LACKS_GPU = /Insufficient \S*(gpu|mig|tpu|npu|neuron)|cannot allocate all claims/i;

/** Earlier ones are nearer to the cause. */
const ORDER = [
  "ModelDownloadFailed",
  "ModelLoadFailed",
  "ModelNotFound",
  "UnsupportedFormat",
  "ModelRefused",
  "ModelIsCode",
  "ModelTooLarge",
  "RuntimeUnavailable",
  "ImageNotFound",
  "ConfigurationError",
  "CrashLoop",
  "OutOfMemory",
  "QuotaExceeded",
  "GpuUnavailable",
  "Unschedulable",
  "Evicted",
  "NodeLost",
  "Fetching",
  "Starting",
  "Loading",
];

/** The most telling fault among a release's pods; `undefined` when all of them are ready. */
export function diagnosePods(
  cluster: string,
  pods: readonly Pod[],
  deployment: Deployment | undefined,
): Fault | undefined {
  const faults: Fault[] = [];
  for (const pod of pods) {
    if (pod.metadata.deletionTimestamp !== undefined) continue;
    const fault = diagnosePod(pod);
    if (fault === undefined) continue;
    const where = `cluster ${cluster}, pod ${pod.metadata.namespace ?? ""}/${pod.metadata.name}`;
    faults.push({ ...fault, message: `${where}: ${fault.message}` });
  }
  const refused = deployment?.status?.conditions?.find(
    ({ type, status }) => type === "ReplicaFailure" && status === "True",
  );
  if (refused !== undefined) {
    const quota = /exceeded quota/i.test(refused.message ?? "");
    faults.push({
      reason: quota ? "QuotaExceeded" : "PodsRefused",
      message: `cluster ${cluster}: pods cannot be created: ${refused.message ?? ""}`,
    });
  }
  const rank = (fault: Fault): number => (ORDER.includes(fault.reason) ? ORDER.indexOf(fault.reason) : ORDER.length);
  return faults.sort((a, b) => rank(a) - rank(b))[0];
}

function diagnosePod(pod: Pod): Fault | undefined {
  const { status } = pod;
  const condition = (type: string) => status?.conditions?.find((each) => each.type === type);
  if (condition("Ready")?.status === "True") return undefined;
  if (status?.phase === "Failed") {
    const reason = status.reason === "Evicted" ? "Evicted" : "CrashLoop";
    return { reason, message: status.message ?? status.reason ?? "the pod failed" };
  }
  const scheduled = condition("PodScheduled");
  if (scheduled?.status === "False") {
    const message = scheduled.message ?? "no node takes it";
    return { reason: LACKS_GPU.test(message) ? "GpuUnavailable" : "Unschedulable", message };
  }
  return (
    diagnoseContainers(pod, Date.parse(condition("Ready")?.lastTransitionTime ?? "")) ??
    progressOf(pod, scheduled !== undefined)
  );
}

/** `unreadySinceMs`: when the pod was last ready; no number where that is not known. */
function diagnoseContainers({ status }: Pod, unreadySinceMs: number): Fault | undefined {
  for (const container of status?.initContainerStatuses ?? []) {
    const fault = FETCHERS.test(container.name) ? fetchFault(container) : diagnoseContainer(container, "CrashLoop");
    if (fault !== undefined) return fault;
  }
  for (const container of status?.containerStatuses ?? []) {
    const fault = diagnoseContainer(container, "CrashLoop");
    if (fault !== undefined) return fault;
    const startedMs = Date.parse(container.state?.running?.startedAt ?? "");
    const again = unreadySinceMs > startedMs ? undefined : failedBefore(container, undefined);
    if (again !== undefined) return again;
  }
  return undefined;
}

function fetchFault(container: ContainerStatus): Fault | undefined {
  const fault = diagnoseContainer(container, "ModelDownloadFailed") ?? failedBefore(container, "ModelDownloadFailed");
  if (fault !== undefined || container.state?.running === undefined) return fault;
  return { reason: "Fetching", message: "the model is being fetched" };
}

/**
 * What a container failed by that runs again: until it is through, that is what is wrong, and no progress. `failure` is the reason where its words name
 * none; `undefined`: then it is no fault, for starting may take some programs several tries.
 */
function failedBefore(container: ContainerStatus, failure: string | undefined): Fault | undefined {
  const { state, lastState, ready } = container;
  if (state?.running === undefined || ready || (lastState?.terminated?.exitCode ?? 0) === 0) return undefined;
  const fault = faultOf(container, failure ?? "");
  return fault.reason === "" ? undefined : fault;
}

function progressOf({ spec, status }: Pod, isScheduled: boolean): Fault {
  const containers = status?.containerStatuses ?? [];
  // The last that its node said is that all is well: others have taken that back since.
  const isGated = (spec.readinessGates ?? []).length > 0;
  if (!isGated && containers.length > 0 && containers.every(({ ready }) => ready))
    return { reason: "NodeLost", message: `nothing is heard of its node ${spec.nodeName ?? ""} any more` };
  const running = status?.containerStatuses?.some((container) => container.state?.running !== undefined) === true;
  if (running && spec.containers.some(({ args }) => args?.includes("--model-uri") === true))
    return { reason: "Fetching", message: "the server runs, its model is being fetched and loaded" };
  if (running) return { reason: "Loading", message: "the server runs, its model does not answer yet" };
  return { reason: "Starting", message: isScheduled ? "its containers are being started" : "it waits for a node" };
}

function diagnoseContainer(container: ContainerStatus, failure: string): Fault | undefined {
  const { state, lastState, name } = container;
  const waiting = state?.waiting;
  const ended = state?.terminated ?? lastState?.terminated;
  switch (waiting?.reason) {
    case "ErrImagePull":
    case "ImagePullBackOff":
    case "InvalidImageName":
    case "ErrImageNeverPull":
      return {
        reason: "ImageNotFound",
        message: `container ${name}: image ${container.image}: ${waiting.message ?? waiting.reason}`,
      };
    case "CreateContainerConfigError":
    case "CreateContainerError":
      return { reason: "ConfigurationError", message: `container ${name}: ${waiting.message ?? waiting.reason}` };
    default:
  }
  const back = waiting?.reason === "CrashLoopBackOff";
  const failed = ended !== undefined && ended.exitCode !== 0 && state?.running === undefined;
  return back || failed ? faultOf(container, failure) : undefined;
}

/** What a container ended by; `failure` is the reason where its words name none. */
function faultOf(container: ContainerStatus, failure: string): Fault {
  const { state, lastState, name } = container;
  const ended = state?.terminated ?? lastState?.terminated;
  const tries = triesOf(container);
  if (ended?.reason === "OOMKilled")
    return { reason: "OutOfMemory", message: `container ${name} used more memory than its limit`, ...tries };
  const said = lastWordsOf(container);
  // The model server's last words begin with the reason.
  const own =
    /^(ModelDownloadFailed|ModelLoadFailed|ModelNotFound|UnsupportedFormat|ModelRefused|ModelIsCode|ModelTooLarge|RuntimeUnavailable): /.exec(
      said,
    );
  // Other pods are made at once, which fetch it apart; who comes back again and again was told so by somebody else.
  if (own?.[1] === "ModelIsCode" && container.restartCount <= 1)
    return {
      reason: "Starting",
      message: "the model is code, which an init container fetches: pods with one are made",
    };
  const words = said === "" ? `exit code ${ended?.exitCode ?? "unknown"}` : said;
  return {
    reason: own?.[1] ?? failure,
    message: `container ${name}: ${own === null ? words : words.slice(own[0].length)}`,
    ...tries,
  };
}

/** How often a container was restarted, and when it is the next time: kubelets name the pause after its end. */
function triesOf({ restartCount, state, lastState }: ContainerStatus): Pick<Fault, "tries"> {
  if (restartCount === 0) return {};
  const times = `restarted ${restartCount === 1 ? "once" : `${restartCount} times`}`;
  if (state?.running !== undefined) return { tries: `${times}; it is being tried again` };
  const [, minutes = "0", seconds] = /^back-off (?:(\d+)m)?(\d+)s /.exec(state?.waiting?.message ?? "") ?? [];
  const endedMs = Date.parse(lastState?.terminated?.finishedAt ?? "");
  if (seconds === undefined || Number.isNaN(endedMs)) return { tries: times };
  return { tries: `${times}; next try at ${timeOf(endedMs + (60 * Number(minutes) + Number(seconds)) * 1000)}` };
}

/** What a container said when it ended; empty where it did not, or said nothing. */
export function lastWordsOf({ state, lastState }: ContainerStatus): string {
  const said = ((state?.terminated ?? lastState?.terminated)?.message ?? "").trim();
  // Fallback to logs gives several lines, of which the last one tells.
  return (said.split("\n").at(-1) ?? "").replace(/^model-server: /, "");
}
