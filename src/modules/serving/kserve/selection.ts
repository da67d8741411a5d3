/** Which runtime serves a model, and why each other one does not. Pure. */
import { didYouMean, isObject } from "../../../kernel/schema/index.js";
import { PROTOCOLS } from "./defaults.js";
import type { Runtime } from "./runtime-kinds.js";

/** What a predictor asks for. */
export interface ModelRequest {
  readonly format: string;
  readonly version?: string | undefined;
  readonly protocol: string;
  readonly multiModel: boolean;
  readonly multiNode: boolean;
  /** The runtime that it names. */
  readonly runtime?: string | undefined;
}

/** A runtime and where it is from. */
export interface Candidate {
  readonly runtime: Runtime;
  readonly scope: "namespace" | "cluster";
}

/** The outcome, with the words for whoever asks why. */
export interface Selection {
  readonly chosen: Candidate | undefined;
  /** Absent when one was chosen. */
  readonly fault?: {
    readonly reason: "NoSupportingRuntime" | "RuntimeNotRecognized" | "RuntimeDisabled";
    readonly message: string;
  };
  readonly rule: string;
  readonly losers: readonly { readonly name: string; readonly reason: string }[];
}

const RULE =
  "runtimes of the namespace before those of the cluster; in each: the higher priority for the format, then the simplest protocol, then the newest, then the name";

/** Chooses. The order is KServe's. */
export function selectRuntime(request: ModelRequest, candidates: readonly Candidate[]): Selection {
  const ordered = order(request, candidates);
  return request.runtime === undefined
    ? selectAutomatically(request, ordered)
    : selectNamed(request, request.runtime, ordered);
}

function selectAutomatically(request: ModelRequest, ordered: readonly Candidate[]): Selection {
  const fit: Candidate[] = [];
  const losers: { name: string; reason: string }[] = [];
  for (const candidate of ordered) {
    const reason = unfitness(request, candidate.runtime, false);
    if (reason !== undefined) losers.push({ name: nameOf(candidate), reason });
    else {
      const [winner] = fit;
      if (winner !== undefined)
        losers.push({
          name: nameOf(candidate),
          reason: `comes after ${nameOf(winner)}: ${whyAfter(request, winner, candidate)}`,
        });
      fit.push(candidate);
    }
  }
  const [chosen] = fit;
  if (chosen !== undefined) return { chosen, rule: RULE, losers };
  return {
    chosen: undefined,
    rule: RULE,
    losers,
    fault: { reason: "NoSupportingRuntime", message: noneFits(request, losers, ordered) },
  };
}

function selectNamed(request: ModelRequest, name: string, ordered: readonly Candidate[]): Selection {
  const rule = "the runtime that is named; the namespace's before the cluster's";
  const chosen = ordered.find(({ runtime }) => runtime.metadata.name === name);
  const fail = (reason: NonNullable<Selection["fault"]>["reason"], message: string): Selection => ({
    chosen: undefined,
    rule,
    losers: [{ name, reason: message }],
    fault: { reason, message },
  });
  if (chosen === undefined) {
    const known = ordered.map(({ runtime }) => runtime.metadata.name);
    return fail(
      "RuntimeNotRecognized",
      `there is no ServingRuntime or ClusterServingRuntime ${name}; there are ${list(known)}${meant(name, known)}`,
    );
  }
  if (chosen.runtime.spec.disabled === true) return fail("RuntimeDisabled", `${nameOf(chosen)} is disabled`);
  const reason = unfitness(request, chosen.runtime, true);
  return reason === undefined
    ? { chosen, rule, losers: [] }
    : fail("NoSupportingRuntime", `${nameOf(chosen)} ${reason}`);
}

/** Why a runtime cannot serve it; `undefined` when it can. */
function unfitness(request: ModelRequest, { spec }: Runtime, named: boolean): string | undefined {
  if (spec.disabled === true) return "is disabled";
  const ofFormat = (spec.supportedModelFormats ?? []).filter(({ name }) => name === request.format);
  if (ofFormat.length === 0) return `does not support ${request.format}`;
  // Who names a runtime may have the model in its image.
  if ((spec.multiModel === true) !== request.multiModel && !(named && request.multiModel))
    return request.multiModel ? "serves one model a pod, and none is given (storageUri)" : "is for many models a pod";
  const protocols = spec.protocolVersions ?? [];
  if (protocols.length > 0 && !protocols.includes(request.protocol))
    return `does not speak ${request.protocol}, but ${protocols.join(", ")}`;
  if (isObject(spec.workerSpec) !== request.multiNode)
    return request.multiNode ? "is for one node" : "is for several nodes";
  const matching = ofFormat.filter(({ version }) => versionFits(version, request.version));
  if (matching.length === 0)
    return `supports ${request.format} ${ofFormat.map(({ version }) => version ?? "").join(", ")}, not ${request.version ?? ""}`;
  if (!named && !matching.some(({ autoSelect }) => autoSelect === true))
    return "is used only where it is named (autoSelect)";
  return undefined;
}

/** A predictor without a version takes any; one with a version takes that one. */
const versionFits = (offered: string | undefined, asked: string | undefined): boolean =>
  asked === undefined || asked === offered;

/** The namespace's first; each block by protocol, age and name, and then stably by priority. */
function order(request: ModelRequest, candidates: readonly Candidate[]): Candidate[] {
  const block = (scope: Candidate["scope"]): Candidate[] =>
    candidates
      .filter((candidate) => candidate.scope === scope)
      .sort((a, b) => byProtocol(a, b) || byAge(a, b) || byName(a, b))
      .sort((a, b) => byPriority(request, a, b));
  return [...block("namespace"), ...block("cluster")];
}

const byProtocol = (a: Candidate, b: Candidate): number => lowest(a.runtime) - lowest(b.runtime);
const byAge = (a: Candidate, b: Candidate): number => compare(createdAt(b), createdAt(a));
const byName = (a: Candidate, b: Candidate): number => compare(a.runtime.metadata.name, b.runtime.metadata.name);
const byPriority = (request: ModelRequest, a: Candidate, b: Candidate): number =>
  priorityOf(request, b) - priorityOf(request, a);

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const createdAt = ({ runtime }: Candidate): string => runtime.metadata.creationTimestamp ?? "";

/** Position of the simplest protocol; those that are not known come last, and none stands for all. */
function lowest({ spec }: Runtime): number {
  const known: readonly string[] = PROTOCOLS;
  const positions = (spec.protocolVersions ?? []).map((name) => {
    const at = known.indexOf(name);
    return at < 0 ? PROTOCOLS.length : at;
  });
  return positions.length === 0 ? PROTOCOLS.length : Math.min(...positions);
}

/** Unset is last. The first entry of the format counts. */
function priorityOf({ format }: ModelRequest, { runtime }: Candidate): number {
  return runtime.spec.supportedModelFormats?.find(({ name }) => name === format)?.priority ?? -1;
}

function whyAfter(request: ModelRequest, winner: Candidate, loser: Candidate): string {
  if (winner.scope !== loser.scope) return "runtimes of the namespace come first";
  const [won, lost] = [priorityOf(request, winner), priorityOf(request, loser)];
  if (won !== lost) return `its priority is ${lost < 0 ? "not set" : lost}, not ${won}`;
  if (byProtocol(winner, loser) !== 0) return "its simplest protocol is a higher one";
  return byAge(winner, loser) === 0 ? "by name" : "it is older";
}

const nameOf = ({ runtime, scope }: Candidate): string =>
  `${scope === "namespace" ? "ServingRuntime" : "ClusterServingRuntime"} ${runtime.metadata.name}`;

const list = (names: readonly string[]): string =>
  names.length === 0 ? "none" : [...new Set(names)].sort().join(", ");

const meant = (word: string, known: readonly string[]): string => {
  const near = didYouMean(word, known);
  return near === undefined ? "" : `; did you mean ${near}?`;
};

function noneFits(
  request: ModelRequest,
  losers: readonly { name: string; reason: string }[],
  candidates: readonly Candidate[],
): string {
  const near = losers.filter(({ reason }) => !reason.startsWith("does not support") && reason !== "is disabled");
  const asked = `${request.format}${request.version === undefined ? "" : ` ${request.version}`} by ${request.protocol}`;
  const hint = HINTS[request.format];
  const formats = candidates
    .filter(({ runtime }) => runtime.spec.disabled !== true)
    .flatMap(({ runtime }) => (runtime.spec.supportedModelFormats ?? []).map(({ name }) => name));
  const words =
    near.length === 0
      ? `no runtime supports the format; there are runtimes for ${list(formats)}${hint === undefined ? meant(request.format, formats) : ""}`
      : near.map(({ name, reason }) => `${name} ${reason}`).join("; ");
  return `no runtime serves ${asked}: ${words}${hint === undefined ? "" : `. ${hint}`}`;
}

const ADD = "or add a ServingRuntime with a server's own container";
const HINTS: Readonly<Record<string, string>> = {
  tensorflow: `Argosy's model server does not read SavedModels: convert the model to ONNX (tf2onnx) and use format onnx, ${ADD}`,
  pytorch: `Argosy's model server does not read TorchScript: export the model to ONNX (torch.onnx) and use format onnx, ${ADD}`,
  pmml: `Argosy's model server does not read PMML: use format onnx, ${ADD}`,
  paddle: `Argosy's model server does not read Paddle models: export the model to ONNX (paddle2onnx) and use format onnx, ${ADD}`,
  triton: `a Triton repository needs Triton: ${ADD.slice(3)}`,
};
