/** Tells the gateway, through Ingresses, how many requests a pod may have and how long one may wait. */
import type { ClusterAccess } from "../../../kernel/control/types.js";
import { type Deployment, type Ingress, IngressKind } from "../../../kernel/kinds/index.js";
import { isObject } from "../../../kernel/schema/index.js";
import { parseDurationMs } from "./duration.js";
import { AUTOSCALER, SCALING } from "./names.js";

const INDEX = "autoscaler-activator";

/** Writes a Deployment's limits into every Ingress that holds requests for it, where they are not there yet. */
export async function writeLimits(cluster: ClusterAccess, deployment: Deployment): Promise<void> {
  const { namespace = "", name } = deployment.metadata;
  const ingresses = cluster.informers.informer(IngressKind);
  ingresses.addIndex(INDEX, (ingress) => heldBy(ingress).map((one) => `${ingress.metadata.namespace ?? ""}/${one}`));
  const limits = limitsOf(deployment);
  for (const ingress of ingresses.byIndex(INDEX, `${namespace}/${name}`)) {
    const before = ingress.metadata.annotations?.[SCALING.activatorLimits];
    const after = render(ingress, name, limits);
    if (after === (before ?? "{}")) continue;
    const annotations = { [SCALING.activatorLimits]: after };
    const wanted = { metadata: { name: ingress.metadata.name, namespace, annotations } };
    await cluster.client.resource(IngressKind).apply(wanted, { namespace, fieldManager: AUTOSCALER, force: true });
  }
}

function heldBy({ metadata }: Ingress): string[] {
  const text = metadata.annotations?.[SCALING.activator] ?? "";
  return text
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
}

function limitsOf({ metadata: { annotations = {} } }: Deployment): Record<string, number> {
  const concurrency = Number(annotations[SCALING.containerConcurrency] ?? 0);
  const waitMs = parseDurationMs(annotations[SCALING.queueTimeout] ?? "");
  const maxQueue = Number(annotations[SCALING.queueLength] ?? 0);
  return {
    ...(Number.isInteger(concurrency) && concurrency > 0 && concurrency <= 100_000 ? { concurrency } : {}),
    ...(waitMs !== undefined && waitMs >= 1 && waitMs <= 3_600_000 ? { waitMs: Math.round(waitMs) } : {}),
    ...(Number.isInteger(maxQueue) && maxQueue > 0 && maxQueue <= 100_000 ? { maxQueue } : {}),
  };
}

/** The limits of all Deployments that the Ingress holds requests for, with these in their place. */
function render(ingress: Ingress, name: string, limits: Record<string, number>): string {
  const all: Record<string, unknown> = {};
  try {
    const known: unknown = JSON.parse(ingress.metadata.annotations?.[SCALING.activatorLimits] ?? "{}");
    for (const one of heldBy(ingress)) if (isObject(known) && known[one] !== undefined) all[one] = known[one];
  } catch {
    // Written anew.
  }
  if (Object.keys(limits).length > 0) all[name] = limits;
  else delete all[name];
  return JSON.stringify(Object.fromEntries(Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1))));
}
