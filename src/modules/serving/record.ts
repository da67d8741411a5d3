/** Decisions of this module in the ledger. */
import { apiVersionOf } from "../../kernel/kinds/index.js";
import type { Decision, Ledger } from "../../stores/ledger/types.js";
import type { Fault } from "./diagnosis.js";
import type { MLService } from "./kinds.js";
import { MLServiceKind } from "./kinds.js";
import type { ReleaseOutcome } from "./release.js";
import type { Routing } from "./routing.js";

const aboutOf = (service: MLService): Decision["about"] => ({
  apiVersion: apiVersionOf(MLServiceKind),
  kind: MLServiceKind.kind,
  namespace: service.metadata.namespace ?? "",
  name: service.metadata.name,
});

const inputOf = ({ name, answers, settled, readyReplicas, totalReplicas, fault }: ReleaseOutcome) => ({
  name,
  answers,
  settled,
  readyReplicas,
  totalReplicas,
  ...(fault === undefined ? {} : { reason: fault.reason }),
});

/** Writes down why a service is, or is not, ready. */
export function recordReadiness(
  ledger: Ledger,
  cluster: string,
  service: MLService,
  { outcomes, ready, url }: { outcomes: readonly ReleaseOutcome[]; ready: Fault | undefined; url: string },
): void {
  ledger.record({
    cluster,
    about: aboutOf(service),
    topic: "readiness",
    rule: "ready when every pod of the default and the canary release is of this generation and ready, and so are those of the transformer, and the model answered through each of their addresses and the service's own",
    inputs: { generation: service.metadata.generation ?? 0, releases: outcomes.map(inputOf) },
    outcome:
      ready === undefined ? `ready: the model answers at ${url}` : `not ready: ${ready.reason}: ${ready.message}`,
    winners: outcomes
      .filter(({ answers }) => answers)
      .map(({ name, url: at }) => ({ name, reason: `answers at ${at}` })),
    losers: outcomes
      .filter(({ answers }) => !answers)
      .map(({ name, fault }) => ({
        name,
        reason: fault === undefined ? "does not answer" : `${fault.reason}: ${fault.message}`,
      })),
  });
}

/** Writes down who gets the service's own traffic. */
export function recordRouting(
  ledger: Ledger,
  cluster: string,
  service: MLService,
  { outcomes, routing }: { outcomes: readonly ReleaseOutcome[]; routing: Routing },
): void {
  const share = (name: string): number => routing.percent[name] ?? 0;
  ledger.record({
    cluster,
    about: aboutOf(service),
    topic: "routing",
    rule: "the default release gets what the canary does not; a canary that does not answer gets nothing; a new default takes over when it answers",
    inputs: {
      generation: service.metadata.generation ?? 0,
      releases: outcomes.map(({ name, answers }) => ({ name, answers })),
    },
    outcome: routing.reason,
    winners: outcomes
      .filter(({ name }) => share(name) > 0)
      .map(({ name }) => ({ name, reason: `${share(name)} % of the service's address`, score: share(name) })),
    losers: outcomes
      .filter(({ name }) => share(name) === 0)
      .map(({ name }) => ({ name, reason: "no share of the service's address" })),
  });
}
