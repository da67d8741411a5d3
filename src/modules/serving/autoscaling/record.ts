/** Decisions of the autoscaler in the ledger. */
import type { Deployment, KubeObject } from "../../../kernel/kinds/index.js";
import { controllerOf } from "../../../kernel/kinds/index.js";
import { toJsonObject } from "../../../kernel/schema/index.js";
import type { Decision, Ledger } from "../../../stores/ledger/types.js";
import type { ColdStartParts } from "./cold-start.js";
import type { Look } from "./scaler.js";

/** Who a decision is about: the Deployment, and what it was made for. */
function aboutOf(deployment: KubeObject): readonly Decision["about"][] {
  const { namespace = "", name } = deployment.metadata;
  const owner = controllerOf(deployment);
  const own = { apiVersion: "apps/v1", kind: "Deployment", namespace, name };
  return owner === undefined
    ? [own]
    : [own, { apiVersion: owner.apiVersion, kind: owner.kind, namespace, name: owner.name }];
}

/** Writes down a change of the number of pods, or of whether any are wanted, with the steps that led there. */
export function recordScaling(ledger: Ledger, cluster: string, deployment: Deployment, look: Look): void {
  const from = deployment.spec.replicas ?? 1;
  const steps = look.words.join("; ");
  const change =
    look.replicas === from ? `stays at ${from} (${look.state.phase})` : `scaled from ${from} to ${look.replicas}`;
  for (const about of aboutOf(deployment))
    ledger.record({
      cluster,
      about,
      topic: "scaling",
      rule: "pods wanted = load over the window / load a pod should have; panic when the short window wants 2 × the ready ones; bounds; the last pods go after a quiet window and a grace period",
      inputs: toJsonObject({ ...look.inputs, deployment: deployment.metadata.name }),
      outcome: steps === "" ? change : `${change}: ${steps}`,
      winners: [{ name: `${look.replicas} replicas`, reason: steps, score: look.replicas }],
      losers: look.replicas === from ? [] : [{ name: `${from} replicas`, reason: "as it was", score: from }],
    });
}

/** Writes down what the way from zero to an answer was made of. */
export function recordColdStart(ledger: Ledger, cluster: string, deployment: Deployment, parts: ColdStartParts): void {
  const { totalMs, queueMs, scheduleMs, fetchMs, loadMs, answerMs, budgetMs } = parts;
  const told = `queue ${queueMs}, schedule ${scheduleMs}, fetch ${fetchMs}, load ${loadMs}, first answer ${answerMs} ms`;
  const budget =
    budgetMs === undefined ? "" : totalMs <= budgetMs ? `, within its ${budgetMs} ms` : `, over its ${budgetMs} ms`;
  for (const about of aboutOf(deployment))
    ledger.record({
      cluster,
      about,
      topic: "cold-start",
      rule: "from the first request that met no pod to its answer",
      inputs: toJsonObject({ ...parts, deployment: deployment.metadata.name }),
      outcome: `zero to first answer in ${totalMs} ms${budget}: ${told}`,
      winners: [],
      losers: [],
    });
}
