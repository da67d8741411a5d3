/** Decisions about InferenceServices in the ledger. */
import type { Verdict } from "../../../kernel/gates/index.js";
import { apiVersionOf } from "../../../kernel/kinds/index.js";
import type { Decision, Ledger } from "../../../stores/ledger/types.js";
import type { Fault } from "../diagnosis.js";
import type { ComponentOutcome } from "./component.js";
import type { InferenceService } from "./inference-service-kind.js";
import { InferenceServiceKind } from "./inference-service-kind.js";
import type { Promotion } from "./promotion.js";
import type { ModelRequest, Selection } from "./selection.js";
import type { Tools } from "./tools.js";

const aboutOf = ({ metadata }: InferenceService): Decision["about"] => ({
  apiVersion: apiVersionOf(InferenceServiceKind),
  kind: InferenceServiceKind.kind,
  namespace: metadata.namespace ?? "",
  name: metadata.name,
});

/** Writes down which runtime was chosen, and why each other one was not. */
export function recordSelection(
  ledger: Ledger,
  cluster: string,
  service: InferenceService,
  { request, selection }: { request: ModelRequest; selection: Selection },
): void {
  const { chosen, fault, rule, losers } = selection;
  const name = chosen?.runtime.metadata.name;
  ledger.record({
    cluster,
    about: aboutOf(service),
    topic: "runtime",
    rule,
    inputs: {
      format: request.format,
      protocol: request.protocol,
      ...(request.version === undefined ? {} : { version: request.version }),
      ...(request.runtime === undefined ? {} : { runtime: request.runtime }),
    },
    outcome: name === undefined ? `none: ${fault?.message ?? ""}` : `${name} serves it`,
    winners: name === undefined ? [] : [{ name, reason: request.runtime === undefined ? "first in order" : "named" }],
    losers: [...losers],
  });
}

/** Writes down who gets which share of a component's traffic. */
export function recordShares(
  ledger: Ledger,
  cluster: string,
  service: InferenceService,
  { component, latest, previous, shares }: ComponentOutcome,
): void {
  if (shares === undefined || previous === undefined || latest === undefined) return;
  const both = [
    { name: latest.revision, score: shares.latest },
    { name: previous.revision, score: shares.previous },
  ];
  const words = ({ name, score }: (typeof both)[number]) => ({
    name,
    score,
    reason: `${score} % of the ${component}'s address`,
  });
  ledger.record({
    cluster,
    about: aboutOf(service),
    topic: "routing",
    rule: "only what answers gets a share; the revision that was rolled out keeps the rest, and everything until then",
    inputs: { generation: service.metadata.generation ?? 0, answers: latest.answers, settled: latest.settled },
    outcome: shares.reason,
    winners: both.filter(({ score }) => score > 0).map(words),
    losers: both.filter(({ score }) => score === 0).map(words),
  });
}

/** Writes down how far a new revision is, and what its gates said. */
export function recordPromotion(
  { ledger, context }: Tools,
  service: InferenceService,
  {
    component,
    promotion: { state, message },
    verdicts,
  }: { readonly component: string; readonly promotion: Promotion; readonly verdicts: readonly Verdict[] },
): void {
  const words = verdicts.map(({ name, verdict, message: said }) => ({ name, reason: `${verdict}: ${said}` }));
  ledger.record({
    cluster: context.cluster.name,
    about: aboutOf(service),
    topic: "promotion",
    rule: "a new revision is watched at each step for its bake; every gate must have passed for the next, and one that fails takes it back",
    inputs: { component, revision: state.revision, percent: state.percent },
    outcome: message,
    winners: words.filter((_, index) => verdicts[index]?.verdict === "Passed"),
    losers: words.filter((_, index) => verdicts[index]?.verdict !== "Passed"),
  });
}

/** Writes down why a service is, or is not, ready. */
export function recordReadiness(
  ledger: Ledger,
  cluster: string,
  service: InferenceService,
  { fault, url }: { fault: Fault | undefined; url: string },
): void {
  ledger.record({
    cluster,
    about: aboutOf(service),
    topic: "readiness",
    rule: "ready when every pod of every component is of this generation and ready, and the model answered through each component's address and the service's own",
    inputs: { generation: service.metadata.generation ?? 0 },
    outcome:
      fault === undefined ? `ready: the model answers at ${url}` : `not ready: ${fault.reason}: ${fault.message}`,
    winners: [],
    losers: [],
  });
}
