/** `modelStatus`: how the predictor's model is, in KServe's words. Pure. */
import { timeOf } from "../../../kernel/kinds/index.js";
import type { Fault } from "../diagnosis.js";
import type { VariantOutcome } from "./component.js";
import type { ModelStatus } from "./inference-service-kind.js";

type Failure = NonNullable<ModelStatus["lastFailureInfo"]>;
type FailureReason = NonNullable<Failure["reason"]>;
type State = NonNullable<ModelStatus["states"]>["activeModelState"];

/** Ours → KServe's; what is not here is no failure but a wait. */
const FAILURES: Readonly<Record<string, FailureReason>> = {
  ModelDownloadFailed: "ModelLoadFailed",
  ModelLoadFailed: "ModelLoadFailed",
  ModelNotFound: "ModelLoadFailed",
  UnsupportedFormat: "ModelLoadFailed",
  ModelRefused: "ModelLoadFailed",
  ModelIsCode: "ModelLoadFailed",
  ModelTooLarge: "ModelLoadFailed",
  SecretNotFound: "ModelLoadFailed",
  RuntimeUnavailable: "RuntimeUnhealthy",
  ImageNotFound: "RuntimeUnhealthy",
  ConfigurationError: "RuntimeUnhealthy",
  CrashLoop: "RuntimeUnhealthy",
  OutOfMemory: "RuntimeUnhealthy",
  QuotaExceeded: "RuntimeUnhealthy",
  Forbidden: "RuntimeUnhealthy",
  ApiFailure: "RuntimeUnhealthy",
  PodsRefused: "RuntimeUnhealthy",
  Unschedulable: "RuntimeUnhealthy",
  GpuUnavailable: "RuntimeUnhealthy",
  Evicted: "RuntimeUnhealthy",
  NotAnswering: "RuntimeUnhealthy",
  GateFailed: "RuntimeUnhealthy",
  GateUnanswered: "RuntimeUnhealthy",
  RuntimeDisabled: "RuntimeDisabled",
  NoSupportingRuntime: "NoSupportingRuntime",
  RuntimeNotRecognized: "RuntimeNotRecognized",
  InvalidPredictorSpec: "InvalidPredictorSpec",
  InvalidTemplate: "InvalidPredictorSpec",
  NameConflict: "InvalidPredictorSpec",
  SurgeBudget: "InvalidPredictorSpec",
};
const INVALID: readonly string[] = [
  "NoSupportingRuntime",
  "RuntimeNotRecognized",
  "RuntimeDisabled",
  "InvalidPredictorSpec",
];

/** What is known of a model. */
export interface ModelSeen {
  readonly latest: VariantOutcome | undefined;
  readonly previous: VariantOutcome | undefined;
  readonly fault: Fault | undefined;
}

/** The status; the time of a failure that was there before stays. */
export function modelStatusOf(
  { latest, previous, fault }: ModelSeen,
  before: ModelStatus | undefined,
  nowMs: number,
): ModelStatus {
  const reason = fault === undefined ? undefined : FAILURES[fault.reason];
  const isUp = latest?.answers === true && latest.settled && fault === undefined;
  const target = isUp ? "Loaded" : targetState(latest, fault);
  const active: State = previous?.answers === true || latest?.answers === true ? "Loaded" : target;
  const failure =
    fault !== undefined && reason !== undefined ? failureOf(fault, { reason, latest, before, nowMs }) : undefined;
  const total = latest?.totalReplicas ?? 0;
  const failed = reason !== undefined ? Math.max(0, total - (latest?.readyReplicas ?? 0)) : 0;
  return {
    transitionStatus: isUp
      ? "UpToDate"
      : reason === undefined
        ? "InProgress"
        : INVALID.includes(reason)
          ? "InvalidSpec"
          : "BlockedByFailedLoad",
    states: { activeModelState: active, targetModelState: target },
    ...(failure === undefined ? {} : { lastFailureInfo: failure }),
    copies: { failedCopies: failed, totalCopies: total },
  };
}

function targetState(latest: VariantOutcome | undefined, fault: Fault | undefined): State {
  if (fault === undefined) return latest?.answers === true ? "Loaded" : "Pending";
  const reason = FAILURES[fault.reason];
  if (reason === "ModelLoadFailed" || reason === "RuntimeUnhealthy") return "FailedToLoad";
  return ["Loading", "Fetching"].includes(fault.reason) ? "Loading" : "Pending";
}

function failureOf(
  { message }: Fault,
  {
    reason,
    latest,
    before,
    nowMs,
  }: { reason: FailureReason; latest: VariantOutcome | undefined; before: ModelStatus | undefined; nowMs: number },
): Failure {
  const known = before?.lastFailureInfo;
  const same = known?.reason === reason && known.message === message;
  const exitCode = /exit code (\d+)/.exec(message)?.[1];
  return {
    location: /^(cluster [^,:]+(?:, pod [^:]+)?)/.exec(message)?.[1] ?? "spec.predictor",
    reason,
    message,
    ...(latest === undefined ? {} : { modelRevisionName: latest.revision }),
    time: (same ? known.time : undefined) ?? timeOf(nowMs),
    ...(exitCode === undefined ? {} : { exitCode: Number(exitCode) }),
  };
}
