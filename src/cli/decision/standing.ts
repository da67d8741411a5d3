import type { JsonObject } from "../../kernel/kinds/object.js";
import { asObject, asObjects, asString } from "../../kernel/schema/index.js";

/** Kinds whose statuses say, cluster by cluster, what became of decisions. */
export const STANDING_KINDS: ReadonlySet<string> = new Set([
  "HyperMLService",
  "HyperRollout",
  "HeadIngress",
  "Work",
  "ResourceBinding",
  "ClusterResourceBinding",
]);

/** How an object stands now, by its status: its conditions, and what of it is not as it was asked for, where and why. */
export function standingOf(object: JsonObject): string[] {
  const status = asObject(object["status"]);
  const conditions = asObjects(status["conditions"]).map(({ type, status: value, reason, message }) => {
    const why = [asString(reason), asString(message)].filter((text) => text !== "").join(": ");
    return `${asString(type)} ${asString(value)}${why === "" ? "" : ` (${why})`}`;
  });
  const summary = asString(status["message"]);
  const lines = [
    ...conditions,
    ...orders(asObject(object["spec"])),
    ...(summary === "" ? [] : [`${asString(status["phase"])}: ${summary}`]),
    ...deliveries(asObjects(status["aggregatedStatus"])),
    ...asObjects(status["leaving"]).map((one) => `leaves ${asString(one["cluster"])}: ${asString(one["message"])}`),
    ...backends(asObjects(status["backends"])),
    ...asObjects(status["clusters"]).map(
      ({ cluster, wave, state, number, message }) =>
        `${asString(cluster)} (wave ${asString(wave)}): revision ${JSON.stringify(number)}, ${asString(state)}${asString(message) === "" ? "" : `: ${asString(message)}`}`,
    ),
    ...manifests(status),
  ];
  return lines.length === 0 ? ["nothing has been said of it yet"] : lines;
}

/** What a binding is told besides where it goes: that nothing is sent, and what it is to leave. */
function orders({ suspension, gracefulEvictionTasks }: JsonObject): string[] {
  const { dispatching, dispatchingOnClusters, scheduling } = asObject(suspension);
  const { clusterNames } = asObject(dispatchingOnClusters);
  const some = Array.isArray(clusterNames) ? clusterNames.map(asString) : [];
  return [
    ...(scheduling === true ? ["suspended: it is given no clusters"] : []),
    ...(dispatching === true ? ["suspended: no change is sent to any cluster"] : []),
    ...(some.length === 0 ? [] : [`suspended: no change is sent to ${some.join(", ")}`]),
    ...asObjects(gracefulEvictionTasks).map(({ fromCluster, reason, purgeMode, suppressDeletion }) => {
      const until =
        suppressDeletion === true ? "until somebody sets suppressDeletion to false" : "until it is healthy elsewhere";
      const stays = purgeMode === "Gracefully" || suppressDeletion === true ? `; what is there stays ${until}` : "";
      return `leaves ${asString(fromCluster)} (${asString(reason)})${stays}`;
    }),
  ];
}

function deliveries(rows: readonly JsonObject[]): string[] {
  const bad = rows.filter(({ applied, health }) => applied !== true || health === "Unhealthy");
  const lines = bad.map((row) => {
    const { kind, name } = asObject(row["resource"]);
    const where = asString(row["cluster"] ?? row["clusterName"]);
    const what = asString(kind) === "" ? "" : ` ${asString(kind)} ${asString(name)}`;
    const state = row["applied"] === true ? "is applied and Unhealthy" : "is not applied";
    const retry = asString(row["nextRetryTime"]);
    const why = [asString(row["reason"]), asString(row["appliedMessage"])].filter((text) => text !== "").join(": ");
    return `${where}:${what} ${state}${why === "" ? "" : ` (${why})`}${retry === "" ? "" : `, tried again at ${retry}`}`;
  });
  const good = rows.length - bad.length;
  return rows.length === 0 ? [] : [`${good} of ${rows.length} are applied and not known to be unhealthy`, ...lines];
}

function backends(rows: readonly JsonObject[]): string[] {
  return rows.map(({ name, weight, weightEffective, percent, reason, message }) => {
    const why = [asString(reason), asString(message)].filter((text) => text !== "").join(": ");
    return `${asString(name)}: ${JSON.stringify(percent)}% of the requests, weight ${JSON.stringify(weightEffective)} of ${JSON.stringify(weight)}${why === "" ? "" : ` (${why})`}`;
  });
}

function manifests(status: JsonObject): string[] {
  const retry = asString(status["nextRetryTime"]);
  return [
    ...asObjects(status["manifestStatuses"]).map((one) => {
      const { kind, name } = asObject(one["identifier"]);
      return `${asString(kind)} ${asString(name)} in the member: ${asString(one["health"]) || "Unknown"}`;
    }),
    ...(retry === "" ? [] : [`tried again at ${retry}`]),
  ];
}
