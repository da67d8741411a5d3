import { syncStatus } from "../../../kernel/control/index.js";
import type { ControllerSpec } from "../../../kernel/control/types.js";
import { isDeleting } from "../../../kernel/kinds/index.js";
import { toJson } from "../../../kernel/schema/index.js";
import {
  type Configuration,
  ConfigurationKind,
  KNATIVE_ANNOTATIONS,
  KNATIVE_LABELS,
  type KnativeService,
  KnativeServiceKind,
  type Route,
  RouteKind,
  type TrafficTarget,
} from "./kinds.js";
import { conditionsWith, isSaid, isTakenCareOf, readyOf, type Said, Writer } from "./parts.js";

const NAME = "knative-service";

/** Makes of each Service a Configuration and a Route. */
export function knativeServiceController(): ControllerSpec<KnativeService> {
  const writer = new Writer(NAME);
  return {
    name: NAME,
    kind: KnativeServiceKind,
    owns: [ConfigurationKind, RouteKind],
    async reconcile(_key, service, context) {
      if (service === undefined || isDeleting(service) || isTakenCareOf(context.cluster)) return;
      const { name, annotations = {}, labels: given = {} } = service.metadata;
      const visibility = given[KNATIVE_LABELS.visibility];
      const labels = { [KNATIVE_LABELS.service]: name, [KNATIVE_LABELS.route]: name };
      const duration = annotations[KNATIVE_ANNOTATIONS.rolloutDuration];
      const configuration = await writer.write(
        ConfigurationKind,
        service,
        { metadata: { name, labels }, spec: { template: toJson(service.spec.template) } },
        context,
      );
      const traffic = (service.spec.traffic ?? [{ latestRevision: true, percent: 100 }]).map((target) =>
        target.revisionName === undefined || target.revisionName === ""
          ? { ...target, configurationName: name }
          : { ...target },
      );
      const seen = visibility === undefined ? labels : { ...labels, [KNATIVE_LABELS.visibility]: visibility };
      const own = duration === undefined ? {} : { [KNATIVE_ANNOTATIONS.rolloutDuration]: duration };
      const route = await writer.write(
        RouteKind,
        service,
        {
          metadata: { name, labels: seen, annotations: own },
          spec: { traffic: traffic.map((target) => toJson(target)) },
        },
        context,
      );
      const status = statusOf(service, configuration, route, context.clock.now());
      await syncStatus(context.cluster.client.resource(KnativeServiceKind), service, status, NAME);
    },
  };
}

/** What the children say, put together. */
function statusOf(
  service: KnativeService,
  configuration: Configuration | Said,
  route: Route | Said,
  nowMs: number,
): NonNullable<KnativeService["status"]> {
  const { latestCreatedRevisionName: created, latestReadyRevisionName: ready } = isSaid(configuration)
    ? {}
    : (configuration.status ?? {});
  const { url, address, traffic } = isSaid(route) ? {} : (route.status ?? {});
  const said = {
    ConfigurationsReady: isSaid(configuration) ? configuration : freshReady(configuration),
    RoutesReady: isSaid(route) ? route : migrated(freshReady(route), traffic, ready),
  };
  return {
    observedGeneration: service.metadata.generation ?? 0,
    conditions: conditionsWith(service, said, nowMs),
    ...(created === undefined ? {} : { latestCreatedRevisionName: created }),
    ...(ready === undefined ? {} : { latestReadyRevisionName: ready }),
    ...(url === undefined ? {} : { url }),
    ...(address === undefined ? {} : { address }),
    ...(traffic === undefined ? {} : { traffic }),
  };
}

/** The Route is behind while it still sends the latest Revision's share to the one before. */
function migrated(said: Said, traffic: readonly TrafficTarget[] | undefined, latest: string | undefined): Said {
  const behind = (traffic ?? []).find(
    ({ latestRevision, revisionName }) => latestRevision === true && revisionName !== latest,
  );
  if (behind === undefined || said.status !== "True") return said;
  return {
    status: "Unknown",
    reason: "TrafficNotMigrated",
    message: `Traffic is not yet migrated to the latest revision ${latest ?? ""}.`,
  };
}

/** What a child says of its present generation. */
function freshReady(child: Configuration | Route): Said {
  return readyOf(child.status?.observedGeneration === child.metadata.generation ? child : undefined);
}
