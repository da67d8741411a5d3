import { syncStatus } from "../../../kernel/control/index.js";
import type { ControllerSpec, ReconcileContext } from "../../../kernel/control/types.js";
import { isConflict } from "../../../kernel/errors/index.js";
import { controllerOf, isDeleting, ownerReferenceTo } from "../../../kernel/kinds/index.js";
import { equalJson } from "../../../kernel/schema/index.js";
import {
  type Configuration,
  ConfigurationKind,
  KNATIVE_ANNOTATIONS,
  KNATIVE_LABELS,
  type Revision,
  RevisionKind,
  RouteKind,
} from "./kinds.js";
import { conditionsWith, isTakenCareOf, readyOf, type Said } from "./parts.js";
import { staleRevisions } from "./traffic.js";

const NAME = "knative-configuration";
const HOUR_MS = 3_600_000;

type Context = ReconcileContext<Configuration>;

/** Makes a Revision of each state of a Configuration's template, and removes those that nobody needs any more. */
export function configurationController(): ControllerSpec<Configuration> {
  return {
    name: NAME,
    kind: ConfigurationKind,
    owns: [RevisionKind],
    async reconcile(_key, configuration, context) {
      if (configuration === undefined || isDeleting(configuration) || isTakenCareOf(context.cluster)) return undefined;
      const latest = await latestRevision(configuration, context);
      const revisions = revisionsOf(configuration, context);
      const name = "reason" in latest ? configuration.status?.latestCreatedRevisionName : latest.metadata.name;
      const ready = newestReady(revisions, configuration.status?.latestReadyRevisionName);
      const own: Said = "reason" in latest ? latest : readyOf(latest);
      const said = own.status === "False" ? { ...own, message: `Revision ${name ?? ""}: ${own.message}` } : own;
      const { clock, cluster } = context;
      const status = {
        observedGeneration: configuration.metadata.generation ?? 0,
        conditions: conditionsWith(configuration, { Ready: said }, clock.now()),
        ...(name === undefined ? {} : { latestCreatedRevisionName: name }),
        ...(ready === undefined ? {} : { latestReadyRevisionName: ready }),
      };
      await syncStatus(cluster.client.resource(ConfigurationKind), configuration, status, NAME);
      await collect(revisions, new Set([name, ready]), context);
      return { requeueAfterMs: HOUR_MS };
    },
  };
}

function revisionsOf({ metadata }: Configuration, { cluster }: Context): readonly Revision[] {
  return cluster.informers
    .informer(RevisionKind)
    .list(metadata.namespace)
    .filter((revision) => controllerOf(revision)?.uid === metadata.uid);
}

const generationOf = ({ metadata }: Revision): number =>
  Number(metadata.labels?.[KNATIVE_LABELS.configurationGeneration] ?? 0);

/** The newest one that is ready; never one that is older than the one before. */
function newestReady(revisions: readonly Revision[], before: string | undefined): string | undefined {
  const least = revisions.find(({ metadata }) => metadata.name === before);
  const ready = revisions
    .filter((revision) => readyOf(revision).status === "True")
    .filter((revision) => least === undefined || generationOf(revision) > generationOf(least))
    .sort((a, b) => generationOf(b) - generationOf(a));
  return ready[0]?.metadata.name ?? least?.metadata.name;
}

/** The Revision of the present template; made where there is none. */
async function latestRevision(configuration: Configuration, context: Context): Promise<Revision | Said> {
  const { metadata, spec } = configuration;
  const generation = metadata.generation ?? 1;
  const {
    name = `${metadata.name}-${String(generation).padStart(5, "0")}`,
    labels = {},
    annotations = {},
  } = spec.template.metadata ?? {};
  const namespace = metadata.namespace ?? "";
  const revisions = context.cluster.client.resource(RevisionKind);
  const known =
    context.cluster.informers.informer(RevisionKind).get({ namespace, name }) ??
    (await revisions.find(name, { namespace }));
  if (known !== undefined) {
    const isOurs = controllerOf(known)?.uid === metadata.uid;
    if (isOurs && equalJson(known.spec, spec.template.spec)) return known;
    const message = isOurs
      ? `Revision ${name} was made of another template, and never changes: give another name, or none`
      : `Revision ${name} is not this Configuration's`;
    return { status: "False", reason: "RevisionNameTaken", message };
  }
  const service = metadata.labels?.[KNATIVE_LABELS.service];
  const made = {
    apiVersion: "serving.knative.dev/v1",
    kind: "Revision",
    metadata: {
      name,
      namespace,
      labels: {
        ...labels,
        [KNATIVE_LABELS.configuration]: metadata.name,
        [KNATIVE_LABELS.configurationGeneration]: String(generation),
        ...(service === undefined ? {} : { [KNATIVE_LABELS.service]: service }),
      },
      annotations,
      ownerReferences: [ownerReferenceTo(configuration)],
    },
    spec: spec.template.spec,
  };
  try {
    return await revisions.create(made, { namespace, fieldManager: NAME });
  } catch (error) {
    if (isConflict(error)) return { status: "Unknown", reason: "Conflict", message: "it is looked at again" };
    throw error;
  }
}

/** Revisions that a Route names or gives a share. */
function routed(context: Context, namespace: string | undefined): ReadonlySet<string> {
  const routes = context.cluster.informers.informer(RouteKind).list(namespace);
  return new Set(
    routes.flatMap(({ spec, status }) =>
      [...(spec.traffic ?? []), ...(status?.traffic ?? [])].flatMap(({ revisionName }) => revisionName ?? []),
    ),
  );
}

async function collect(
  revisions: readonly Revision[],
  latest: ReadonlySet<string | undefined>,
  context: Context,
): Promise<void> {
  const used = routed(context, revisions[0]?.metadata.namespace);
  const newest = Math.max(...revisions.map(generationOf));
  const old = revisions.map((revision) => {
    const { name, annotations = {}, creationTimestamp } = revision.metadata;
    const createdAtMs = Date.parse(creationTimestamp);
    const routedAt = Date.parse(annotations[KNATIVE_ANNOTATIONS.lastRouted] ?? "");
    const isKept =
      used.has(name) ||
      latest.has(name) ||
      generationOf(revision) === newest ||
      annotations[KNATIVE_ANNOTATIONS.noGc] === "true" ||
      isDeleting(revision);
    return { name, createdAtMs, lastActiveMs: Number.isFinite(routedAt) ? routedAt : createdAtMs, isKept };
  });
  for (const name of staleRevisions(old, context.clock.now())) {
    const revision = revisions.find(({ metadata }) => metadata.name === name);
    const { namespace = "", uid } = revision?.metadata ?? {};
    context.log.info("revision is removed: nobody has used it for long", { revision: name });
    const options = uid === undefined ? {} : { preconditions: { uid } };
    await context.cluster.client
      .resource(RevisionKind)
      .delete(name, { namespace, propagationPolicy: "Background", ...options });
  }
}
