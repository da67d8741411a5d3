import type { Json, JsonObject } from "../../../src/kernel/kinds/object.js";
import type { Chance } from "./chance.js";
import type { Step } from "./types.js";

type Request = Omit<Step, "id">;

export const acceptedForms = [
  "application/json;as=Table;v=v1;g=meta.k8s.io",
  "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
  "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
  "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
  "application/yaml",
  "application/cbor",
  "application/json;stream=watch",
  "*/*",
  "text/html",
];

export function collectionRequest(chance: Chance, path: string, namespace: string, next: number): Request {
  const pairs: [string, string][] = [];
  const id = (): number => chance.int(next);
  if (chance.maybe(0.4))
    pairs.push([
      "labelSelector",
      chance.pick([
        "app=x",
        "app!=x",
        "app in (x,y)",
        "app notin (x)",
        "!l0",
        "l0",
        "l0>0",
        "l1<2",
        "app=x,l0",
        "app==y",
        "a b",
        "app in",
        "app=x,",
        " app = x ",
        "app=(x)",
        "a/b/c",
        "l0 > 0,app",
      ]),
    ]);
  if (chance.maybe(0.3))
    pairs.push([
      "fieldSelector",
      chance.pick([
        `metadata.name=${namespace}a`,
        `metadata.name!=${namespace}a`,
        `metadata.namespace=${namespace}`,
        "spec.color=red",
        "type=Opaque",
        "spec.type=ClusterIP",
        "spec.clusterIP=None",
        "a=b",
        "metadata.name",
        `metadata.name=${namespace}a,metadata.name!=x`,
        "metadata.name=\\",
      ]),
    ]);
  if (chance.maybe(0.35)) pairs.push(["limit", chance.pick(["1", "2", "3", "0", "-1", "x", "500"])]);
  if (chance.maybe(0.25)) pairs.push(["continue", `\${continue:${id()}}`]);
  if (chance.maybe(0.3))
    pairs.push([
      "resourceVersion",
      chance.pick(["0", `\${rv:${id()}}`, `\${rv:${id()}}`, "1", "x", "", "-1", "99999999"]),
    ]);
  if (chance.maybe(0.3))
    pairs.push(["resourceVersionMatch", chance.pick(["Exact", "NotOlderThan", "Exact", "bogus", ""])]);
  const accept = chance.maybe(0.25) ? { accept: chance.pick(acceptedForms) } : {};
  const kind = chance.weighted([
    [10, "list"],
    [5, "watch"],
    [4, "deletecollection"],
    [3, "get"],
    [2, "delete"],
    [2, "touch"],
  ] as const);
  const query = (more: readonly (readonly [string, string])[] = []): string => {
    const all = [...pairs, ...more].map(
      ([name, value]) =>
        `${name}=${encodeURIComponent(value).replaceAll("%24%7B", "${").replaceAll("%7D", "}").replaceAll("%3A", ":")}`,
    );
    return all.length === 0 ? "" : `?${all.join("&")}`;
  };
  const name = `${namespace}${chance.pick(["a", "b", "c", "d", "z"])}`;
  switch (kind) {
    case "list":
      return { method: "GET", path: path + query(), ...accept };
    case "watch":
      return {
        method: "GET",
        path:
          path +
          query([
            ["watch", chance.pick(["1", "true", "true", "0", "x"])],
            ["timeoutSeconds", "1"],
            ...watchOptions(chance),
          ]),
        ...accept,
      };
    case "deletecollection":
      return {
        method: "DELETE",
        path: path + query(chance.maybe(0.3) ? [["dryRun", "All"]] : []),
        ...(chance.maybe(0.3) ? { body: deleteOptions(chance) } : {}),
        ...accept,
      };
    case "get":
      return { method: "GET", path: `${path}/${name}${query()}`, ...accept };
    case "delete":
      return {
        method: "DELETE",
        path: `${path}/${name}${query(chance.maybe(0.3) ? [["dryRun", "All"]] : [])}`,
        ...(chance.maybe(0.5) ? { body: deleteOptions(chance) } : {}),
        ...accept,
      };
    default:
      return {
        method: "PATCH",
        path: `${path}/${name}`,
        contentType: "application/merge-patch+json",
        body: {
          metadata: {
            labels: { app: chance.pick(["x", "y"]) },
            finalizers: chance.pick<Json>([null, ["example.com/f"], []]),
          },
        },
      };
  }
}

function watchOptions(chance: Chance): [string, string][] {
  const pairs: [string, string][] = [];
  if (chance.maybe(0.3)) pairs.push(["allowWatchBookmarks", chance.pick(["true", "false", "x"])]);
  if (chance.maybe(0.4)) pairs.push(["sendInitialEvents", chance.pick(["true", "false", "true"])]);
  return pairs;
}

export function deleteOptions(chance: Chance): JsonObject {
  return {
    ...(chance.maybe(0.7)
      ? {
          apiVersion: chance.pick(["v1", "meta.k8s.io/v1", "v2", "apps/v1"]),
          kind: chance.pick(["DeleteOptions", "DeleteOptions", "Pod"]),
        }
      : {}),
    ...(chance.maybe(0.3) ? { propagationPolicy: chance.pick(["Foreground", "Background", "Orphan", "x"]) } : {}),
    ...(chance.maybe(0.3) ? { gracePeriodSeconds: chance.pick([0, 1, -1]) } : {}),
    ...(chance.maybe(0.2) ? { orphanDependents: true } : {}),
    ...(chance.maybe(0.2) ? { dryRun: chance.pick<Json>([["All"], ["x"], "All"]) } : {}),
    ...(chance.maybe(0.2) ? { preconditions: chance.pick<Json>([{ uid: "x" }, { resourceVersion: "1" }, {}]) } : {}),
    ...(chance.maybe(0.1) ? { bogus: 1 } : {}),
    ...(chance.maybe(0.1) ? { ignoreStoreReadErrorWithClusterBreakingPotential: chance.maybe(0.5) } : {}),
  };
}
