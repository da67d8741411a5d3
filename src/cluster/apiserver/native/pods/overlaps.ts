import type { Faults } from "../../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../../kernel/kinds/object.js";
import { asObjects, asString, at } from "../../registry/read.js";

interface Target {
  readonly path: string;
  readonly source: string;
}

/** Warns of files of one volume that hide each other. */
export function warnOfOverlaps(volumes: readonly JsonObject[], faults: Faults): void {
  for (const volume of volumes) {
    const name = JSON.stringify(asString(volume["name"]));
    const tell = (what: string, targets: readonly Target[]): void => {
      for (const overlap of overlaps(targets)) faults.warn(`volume ${name} (${what}): overlapping paths: ${overlap}`);
    };
    const { configMap, secret, downwardAPI, projected } = volume;
    tell(`ConfigMap ${quoted(configMap, "name")}`, targetsOf(configMap, ""));
    tell(`Secret ${quoted(secret, "secretName")}`, targetsOf(secret, ""));
    tell("DownwardAPI", targetsOf(downwardAPI, ""));
    const sources = asObjects(at(projected, "sources"));
    for (const source of sources)
      if (Object.keys(source).length === 0) faults.warn(`volume ${name} (Projected) has no sources provided`);
    tell("Projected", sources.flatMap(projectedTargets));
  }
}

function quoted(value: Json | undefined, field: string): string {
  return JSON.stringify(asString(at(value, field)));
}

function targetsOf(holder: Json | undefined, source: string): Target[] {
  return asObjects(at(holder, "items")).map((item) => ({ path: asString(item["path"]), source }));
}

function projectedTargets(source: JsonObject): Target[] {
  const { configMap, secret, downwardAPI, serviceAccountToken: token, clusterTrustBundle: bundle } = source;
  if (at(configMap, "items") !== undefined) return targetsOf(configMap, `ConfigMap ${quoted(configMap, "name")}`);
  if (at(secret, "items") !== undefined) return targetsOf(secret, `Secret ${quoted(secret, "name")}`);
  if (at(downwardAPI, "items") !== undefined) return targetsOf(downwardAPI, "DownwardAPI");
  if (token !== undefined) return [{ path: asString(at(token, "path")), source: "ServiceAccountToken" }];
  if (bundle === undefined) return [];
  const name = asString(at(bundle, "name") ?? at(bundle, "signerName"));
  return [{ path: asString(at(bundle, "path")), source: `ClusterTrustBundle ${JSON.stringify(name)}` }];
}

function overlaps(targets: readonly Target[]): string[] {
  const result: string[] = [];
  const seen: Target[] = [];
  for (const target of targets) {
    const own = { ...target, path: target.path.replace(/\/+$/, "") };
    if (own.path !== "")
      for (const other of seen)
        if (other.path !== "" && isBelow(own.path, other.path)) result.push(`${shown(own)} with ${shown(other)}`);
    seen.push(own);
  }
  return result;
}

const isBelow = (a: string, b: string): boolean => `${a}/`.startsWith(`${b}/`) || `${b}/`.startsWith(`${a}/`);

const shown = ({ path, source }: Target): string => `${JSON.stringify(path)}${source === "" ? "" : ` (${source})`}`;
