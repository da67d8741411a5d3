/** The pods that work for a predictor's, where several nodes serve one model: written, and looked at. */
import { DeploymentKind, ServiceKind } from "../../../kernel/kinds/index.js";
import { isFault } from "../apply.js";
import { ownedBy } from "../owned.js";
import { reconcileUnit, type UnitOutcome } from "../unit.js";
import { REVISION_ANNOTATION, type VariantObjects, workersOf } from "./children.js";
import type { InferenceService } from "./inference-service-kind.js";
import { podsOf, type Tools } from "./tools.js";

/** What there is of them. */
export interface WorkerNames {
  readonly deployment: string;
  readonly services: readonly string[];
}

/** How a head is once its workers are counted in. */
export interface WithWorkers extends UnitOutcome {
  readonly workers?: WorkerNames;
}

/** Writes the workers of a Deployment's pods; what is wrong with them is wrong with the model. */
export async function withWorkers(
  service: InferenceService,
  variant: VariantObjects,
  head: UnitOutcome,
  tools: Tools,
): Promise<WithWorkers> {
  const { workers } = variant.built;
  if (workers === undefined) return head;
  const wanted = workersOf(service, variant, workers);
  const { name } = wanted.deployment.metadata;
  const names: WorkerNames = {
    deployment: name,
    services: [wanted.head.metadata.name, wanted.workers.metadata.name, ...servicesBefore(service, variant, tools)],
  };
  // Who works finds whom it works for by name from its start on.
  const written = await tools.writer.write(ServiceKind, service, wanted.head);
  const outcome = isFault(written)
    ? { ...head, settled: false, fault: written }
    : await reconcileUnit(
        {
          owner: service,
          ...{ deployment: wanted.deployment, service: wanted.workers },
          ...{ built: variant.built, url: undefined, pods: () => podsOf(service, name, tools) },
          given: variant.replicas === 0 ? 0 : workers.count,
        },
        tools,
      );
  const fault = outcome.fault === undefined ? undefined : { ...outcome.fault, message: saying(outcome.fault.message) };
  const isTelling = head.fault === undefined || ON_ITS_WAY.has(head.fault.reason);
  return {
    ...head,
    settled: head.settled && (outcome.settled || variant.replicas === 0),
    fault: isTelling ? (fault ?? head.fault) : head.fault,
    workers: names,
  };
}

const ON_ITS_WAY: ReadonlySet<string> = new Set(["Starting", "Loading", "Fetching"]);

const saying = (message: string): string => (/^\d+ of \d+ pods/.test(message) ? `workers: ${message}` : message);

/** While pods of the revision before are there, they are found by the name that they know. */
function servicesBefore(service: InferenceService, { revision }: VariantObjects, { context }: Tools): string[] {
  const { informers } = context.cluster;
  const others = ownedBy(informers, DeploymentKind, service).some(
    ({ metadata, status }) =>
      metadata.annotations?.[REVISION_ANNOTATION] === revision &&
      (status?.replicas ?? 0) !== (status?.updatedReplicas ?? 0),
  );
  if (!others) return [];
  return ownedBy(informers, ServiceKind, service)
    .map(({ metadata }) => metadata.name)
    .filter((name) => /-(head|worker)-\d+$/.test(name));
}
