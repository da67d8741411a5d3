import type {
  BackendReport,
  GatewayDriver,
  GatewayState,
  ListenerInput,
  RouteInput,
} from "../../../dataplane/gateway/index.js";
import type { HeadPlan, PlannedBackend } from "../head-weights.js";
import type { ConditionDraft, HeadBackendStatus, HeadIngress, HeadIngressStatus } from "../kinds.js";
import type { ApplyOutcome } from "./applier.js";
import type { Compiled } from "./compiler.js";
import type { Limit } from "./rendering.js";

/** Fields of a HeadIngress that mean nothing for the built-in gateway. */
export function builtinLimits({ spec }: HeadIngress): readonly Limit[] {
  const limits: Limit[] = [];
  const note = (isSet: boolean, field: string, message: string): void => {
    if (isSet) limits.push({ field, message });
  };
  const { affinity, rendering, class: asked = "auto" } = spec;
  note(
    asked === "builtin" && spec.ingressCluster !== undefined,
    "spec.ingressCluster",
    "the built-in gateway is the hub's",
  );
  note(asked === "builtin" && rendering !== undefined, "spec.rendering", "nothing is rendered for class builtin");
  note(
    affinity?.header !== undefined && affinity.cookie !== undefined,
    "spec.affinity.cookie",
    "there is a header too, and that is used",
  );
  note(
    affinity !== undefined && affinity.header === undefined && affinity.cookie === undefined,
    "spec.affinity",
    "neither header nor cookie is given",
  );
  note(
    spec.protocol === "GRPC" && spec.health?.path !== undefined,
    "spec.health.path",
    "backends that speak gRPC are asked by gRPC's own health protocol",
  );
  note(spec.protocol === "GRPC" && spec.hedge !== undefined, "spec.hedge", "calls of gRPC are not sent twice");
  note(
    spec.protocol === "GRPC" && spec.timeouts?.requestMs !== undefined,
    "spec.timeouts.requestMs",
    "a call of gRPC brings its own deadline",
  );
  note(
    spec.protocol === "GRPC" && (spec.retry?.statuses ?? []).length > 0,
    "spec.retry.statuses",
    "answers of gRPC have status 200",
  );
  note(
    spec.weighting?.resource !== undefined && spec.weighting.by !== "FreeCapacity",
    "spec.weighting.resource",
    "it is for weighting by FreeCapacity",
  );
  return limits;
}

/** Fields of a HeadIngress that have no effect, whoever carries it out. */
export function effectless({ spec }: HeadIngress, { backends, unmeasured }: HeadPlan): readonly Limit[] {
  const { weighting, retry } = spec;
  const by = weighting?.by ?? "Fixed";
  // Latency is measured with the requests; before there were any nothing is missing.
  const isUnknown = (by === "ReadyReplicas" || by === "FreeCapacity") && unmeasured.length > 0;
  const measure = by === "FreeCapacity" ? `free ${weighting?.resource ?? "cpu"}` : "ready replicas";
  const notes: [isSet: boolean, field: string, message: string][] = [
    [
      spec.weights !== undefined && spec.hyperMLServiceRef === undefined,
      "spec.weights",
      "they are for the clusters of hyperMLServiceRef; backends by hand have a weight of their own",
    ],
    [
      isUnknown,
      "spec.weighting.by",
      `the ${measure} of ${unmeasured.join(", ")} are not known: they count as the mean`,
    ],
    [
      weighting?.minPercent !== undefined && by === "Fixed",
      "spec.weighting.minPercent",
      "fixed weights follow nothing",
    ],
    [
      spec.backendTLS !== undefined && backends.length > 0 && !backends.some(({ isSecure }) => isSecure),
      "spec.backendTLS",
      "no backend has a URL of https",
    ],
    [
      retry?.attempts === 0 && (retry.statuses !== undefined || retry.nonIdempotent !== undefined),
      "spec.retry",
      "nothing is sent once more with attempts: 0",
    ],
  ];
  return notes.flatMap(([isSet, field, message]) => (isSet ? [{ field, message }] : []));
}

/** Why nobody carries a route, where that is known. `outcome` is of a class that is rendered. */
export function absenceOf(
  fault: string,
  outcome: ApplyOutcome | undefined,
): { readonly reason: string; readonly message: string } | undefined {
  if (fault !== "") return { reason: "NotProgrammed", message: fault };
  return outcome === undefined ? undefined : { reason: "NotRendered", message: outcome.condition.message };
}

/** What is taken for true of a backend that another program carries: nobody tells, so that what was given holds. */
export function assumedReport(backend: PlannedBackend, all: readonly PlannedBackend[]): BackendReport {
  const given = ({ weightGiven, isDraining }: PlannedBackend): number => (isDraining ? 0 : weightGiven);
  const lowest = Math.min(...all.filter((one) => given(one) > 0).map(({ priority }) => priority));
  const isUsed = backend.priority === lowest;
  const weight = isUsed ? given(backend) : 0;
  const total = all.reduce((sum, one) => sum + (one.priority === lowest ? given(one) : 0), 0);
  const standby = `it stands by while a backend of priority ${lowest} is in use`;
  return {
    name: backend.name,
    weight: backend.weightGiven,
    weightEffective: weight,
    share: total > 0 ? weight / total : 0,
    healthy: true,
    answered: true,
    reason: isUsed ? "" : standby,
    word: isUsed ? "" : "StandsBy",
    requests: 0,
    failures: 0,
    retries: 0,
    hedges: 0,
    inFlight: 0,
    latencySumMs: 0,
    latency: {},
    byClass: {},
    endpoints: [],
  };
}

/** Whether each field that is set is made true; `faults` are what is wrong with the fields that say where requests go. */
export function honouredOf(limits: readonly Limit[], faults: readonly string[]): ConditionDraft {
  const type = "FieldsHonoured";
  if (limits.length === 0 && faults.length === 0)
    return { type, status: "True", reason: "AllHonoured", message: "every field that is set is made true" };
  return {
    type,
    status: "False",
    reason: limits.length === 0 ? "NoEffect" : "NotExpressible",
    message: [...limits.map(({ field, message }) => `${field}: ${message}`), ...faults].join("; "),
  };
}

/** Says so while the load is high, and of former high load that it is over. */
export function trafficOf(
  head: HeadIngress,
  load: { readonly rate: number; readonly isHigh: boolean },
  outcome: ApplyOutcome | undefined,
): ConditionDraft | undefined {
  const type = "HighTraffic";
  const rate = `${Math.round(load.rate)} requests a second were measured here`;
  if (load.isHigh) {
    const where = outcome?.rendered?.objects[0]?.name;
    const advice =
      where === undefined
        ? "haproxy would need less CPU for them"
        : `haproxy needs less CPU for them: its configuration is in ConfigMap ${where}`;
    return { type, status: "True", reason: "Measured", message: `${rate}; ${advice}` };
  }
  const wasHigh = (head.status?.conditions ?? []).some((condition) => condition.type === type);
  if (!wasHigh) return undefined;
  const kept =
    outcome?.rendered === undefined
      ? ""
      : "; what is rendered for haproxy stays until spec.class is builtin, because clients may have moved there";
  return { type, status: "False", reason: "Measured", message: `${rate}${kept}` };
}

/** How a HeadIngress stands that the built-in gateway carries. `listener` is where the gateway carries the route; undefined when it does not yet. */
export function programmedIn(
  { process }: Pick<GatewayDriver, "process">,
  state: GatewayState | undefined,
  { fault, listener }: { readonly fault: string; readonly listener: string | undefined },
): ConditionDraft {
  const draft = (reason: string, message: string): ConditionDraft => ({
    type: "Programmed",
    status: reason === "Programmed" ? "True" : "False",
    reason,
    message,
  });
  if (fault !== "") return draft("Invalid", fault);
  if (state === undefined)
    return draft(
      "GatewayDown",
      `the gateway does not answer: ${process.reason === "" ? "it has not been asked yet" : process.reason}`,
    );
  if (state.tableError !== "") return draft("TableRefused", state.tableError);
  if (listener === undefined) return draft("Pending", "the gateway has not taken the route over yet");
  const silent = state.listeners.find((report) => report.name === listener && !report.listening);
  if (silent !== undefined) return draft("NotListening", silent.reason);
  return draft("Programmed", "the gateway carries the route");
}

/** How a HeadIngress stands that another program carries. */
export function programmedAs(
  fault: string,
  outcome: ApplyOutcome | undefined,
  refusal: string | undefined,
): ConditionDraft {
  if (fault !== "") return { type: "Programmed", status: "False", reason: "Invalid", message: fault };
  if (refusal !== undefined) return { type: "Programmed", status: "False", reason: "Refused", message: refusal };
  if (outcome?.condition.status === "True")
    return { type: "Programmed", status: "True", reason: "Rendered", message: outcome.condition.message };
  return { type: "Programmed", status: "False", reason: "NotRendered", message: outcome?.condition.message ?? "" };
}

/** The same of one whose present spec is not carried: what is wrong with it, what is in effect instead, and what to do. */
export function refusedAs(
  carried: ConditionDraft,
  { refused, head, stale }: Pick<Compiled, "refused" | "head" | "stale">,
): ConditionDraft {
  if (refused === "" && stale !== "" && carried.status === "True")
    return { type: "Programmed", status: "False", reason: "Invalid", message: stale };
  if (refused === "") return carried;
  const { name, namespace = "", generation = 0 } = head.metadata;
  const rest = `generation ${generation} of the spec stays in effect until this is corrected (kubectl edit headingress ${name} -n ${namespace})`;
  return { type: "Programmed", status: "False", reason: "Invalid", message: `${refused}; ${rest}` };
}

/** Whether requests have somewhere to go; `refused` is what is said of the present spec, `programmed` of what is carried. */
export function readinessOf(
  programmed: ConditionDraft,
  plan: HeadPlan,
  { backends, refused }: { readonly backends: readonly HeadBackendStatus[]; readonly refused: ConditionDraft },
): ConditionDraft {
  if (programmed.status !== "True")
    return { type: "Ready", status: "False", reason: programmed.reason, message: programmed.message };
  const short = backends.filter((backend) => backend.weightEffective < backend.weight);
  const spec = refused.status === "True" ? [] : [refused.message];
  const why = [...spec, ...plan.faults, ...byMessage(short, ({ name }) => name)].join("; ");
  const percents = backends
    .filter((backend) => backend.weightEffective > 0)
    .map((backend) => `${backend.name} ${backend.percent}%`);
  if (percents.length === 0)
    return { type: "Ready", status: "False", reason: "NoBackend", message: why === "" ? "there is no backend" : why };
  if (why !== "")
    return {
      type: "Ready",
      status: "True",
      reason: "Degraded",
      message: `requests go to ${percents.join(", ")}; ${why}`,
    };
  return { type: "Ready", status: "True", reason: "Serving", message: `requests go to ${percents.join(", ")}` };
}

/** What several have in common is said once, with who they are. */
function byMessage(
  backends: readonly HeadBackendStatus[],
  wordOf: (backend: HeadBackendStatus) => string,
): readonly string[] {
  const words = new Map<string, string[]>();
  for (const backend of backends) {
    const message = backend.message ?? "no traffic";
    words.set(message, [...(words.get(message) ?? []), wordOf(backend)]);
  }
  return [...words].map(([message, who]) => `${who.join(", ")}: ${message}`);
}

/** True once every backend has the weight that was asked for. */
export function weightsOf(backends: readonly HeadBackendStatus[]): ConditionDraft {
  const short = backends.filter((backend) => backend.weightEffective !== backend.weight);
  if (short.length === 0 && backends.length > 0) {
    return {
      type: "WeightsEffective",
      status: "True",
      reason: "AsAsked",
      message: "every backend has the weight that was asked for",
    };
  }
  const why = byMessage(short, ({ name, weightEffective, weight }) => `${name} has ${weightEffective} of ${weight}`);
  return {
    type: "WeightsEffective",
    status: "False",
    reason: "Differs",
    message: backends.length === 0 ? "there is no backend" : why.join("; "),
  };
}

type RouteReport = GatewayState["routes"][number];

/** What the gateway says of a route, without counters, as one word. */
export function saidOf({ backends }: RouteReport): string {
  return JSON.stringify(
    backends.map(({ weight, weightEffective, share, healthy, answered, reason }) => [
      weight,
      weightEffective,
      share,
      healthy,
      answered,
      reason,
    ]),
  );
}

/** Everything that the gateway counted of a route, as one number. */
export function countedBy({ backends, shadows = [] }: RouteReport): number {
  const copies = shadows.reduce((sum, { compared, failures }) => sum + compared + failures, 0);
  return backends.reduce((sum, { requests }) => sum + requests, copies);
}

/** The same as `countedBy`, of a status. */
export function countedIn(status: HeadIngressStatus | undefined): number {
  const copies = (status?.shadows ?? []).reduce((sum, { compared = 0, failures = 0 }) => sum + compared + failures, 0);
  return (status?.backends ?? []).reduce((sum, { requests }) => sum + requests, copies);
}

/** Where clients send requests. */
export function addressOf(
  route: RouteInput,
  state: GatewayState | undefined,
  {
    listener: plain,
    tlsListener: secure,
  }: { readonly listener: ListenerInput; readonly tlsListener?: ListenerInput | undefined },
): string | undefined {
  const isSecure = route.listener === secure?.name;
  const { host: hostOf, port } = isSecure ? secure : plain;
  const bound = state?.listeners.find((report) => report.name === route.listener)?.address ?? `${hostOf}:${port}`;
  const scheme = isSecure || (route.listener === plain.name && plain.tls !== undefined) ? "https" : "http";
  const host = route.hosts?.find((name) => !name.startsWith("*"));
  const authority = host === undefined ? bound : `${host}:${bound.split(":").at(-1)}`;
  return `${scheme}://${authority}${route.path ?? "/"}`;
}
