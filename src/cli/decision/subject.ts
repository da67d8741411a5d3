import type { ApiClient } from "../../kernel/client/types.js";
import { ApiError, isNotFound } from "../../kernel/errors/index.js";
import type { KubeObject } from "../../kernel/kinds/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { asObject, asObjects, asString, toJsonObject } from "../../kernel/schema/index.js";
import { HeadIngressKind, HyperRolloutKind } from "../../modules/fleet/index.js";
import { parseJsonObject } from "../manifest/json.js";
import type { ServedResource } from "../resource/discovery.js";
import { resourcePath } from "../resource/path.js";

/** What decisions are about. */
export interface Subject {
  /** Absent: of any kind. */
  readonly kind?: string;
  /** Absent: in any namespace, or in none. */
  readonly namespace?: string;
  readonly name: string;
}

const WORK_GROUP = "work.karmada.io";
/** Karmada's marks of a Work that was made of a HyperMLService. */
const OWNER_NAME = "argosy.dev/hypermlservice-name";
const OWNER_NAMESPACE = "argosy.dev/hypermlservice-namespace";

/**
 * The objects that were decided about when an object became what it is. Nobody decides about bindings and Works themselves: a binding leads to its
 * template (and to those that take it along), a Work to what it carries and, where there is one, its HyperMLService; that leads to its HeadIngresses
 * and HyperRollout, and these lead to it. Throws `ApiError`
 * where such an object is not there.
 */
export async function subjectsOf(
  client: ApiClient,
  resource: ServedResource,
  { namespace, name }: { readonly namespace: string; readonly name: string },
): Promise<Subject[]> {
  const { group, kind, namespaced } = resource;
  const itself = { kind, name, ...(namespaced ? { namespace } : {}) };
  if (group === "tensorstack.dev" && kind === "HyperMLService") return [itself, ...(await aroundOf(client, itself))];
  if (group === "argosy.dev" && (kind === "HeadIngress" || kind === "HyperRollout")) {
    const answer = await client.json("GET", resourcePath(resource, namespace, name)).catch((error: unknown) => {
      // Of one that is gone the ledger still knows.
      if (isNotFound(error)) return {};
      throw error;
    });
    const object = parseJsonObject(answer) ?? {};
    const leader = asString(asObject(asObject(object["spec"])["hyperMLServiceRef"])["name"]);
    return leader === "" ? [itself] : [itself, { kind: "HyperMLService", namespace, name: leader }];
  }
  const isBinding = kind === "ResourceBinding" || kind === "ClusterResourceBinding";
  if (group !== WORK_GROUP || (!isBinding && kind !== "Work")) return [itself];
  const read = async (path: string): Promise<JsonObject> => parseJsonObject(await client.json("GET", path)) ?? {};
  const object = await read(resourcePath(resource, namespace, name));
  if (!isBinding) return distinct(carriedBy(object));
  const subjects = [templateOf(object)];
  for (const leader of asObjects(asObject(object["spec"])["requiredBy"])) {
    const space = asString(leader["namespace"]);
    const plural = space === "" ? "clusterresourcebindings" : "resourcebindings";
    const scoped = { ...resource, plural, namespaced: space !== "" };
    subjects.push(templateOf(await read(resourcePath(scoped, space, asString(leader["name"])))));
  }
  return distinct(subjects);
}

/** HeadIngresses in front of a HyperMLService and the HyperRollouts that rule it. */
async function aroundOf(
  client: ApiClient,
  { namespace = "", name }: { readonly namespace?: string; readonly name: string },
): Promise<Subject[]> {
  const found = await Promise.all(
    [HeadIngressKind, HyperRolloutKind].map(async (kind) => {
      // Who may not see them, or has none, is told of the service alone.
      const { items } = await client
        .resource<KubeObject>(kind)
        .list({ namespace })
        .catch((error: unknown) => {
          if (error instanceof ApiError) return { items: [] };
          throw error;
        });
      return items
        .map((item) => toJsonObject(item))
        .filter((item) => asObject(asObject(item["spec"])["hyperMLServiceRef"])["name"] === name)
        .map((item) => ({ kind: kind.kind, namespace, name: asString(asObject(item["metadata"])["name"]) }));
    }),
  );
  return found.flat();
}

function templateOf(binding: JsonObject): Subject {
  return subjectOf(asObject(asObject(binding["spec"])["resource"]));
}

function carriedBy(work: JsonObject): Subject[] {
  const { annotations } = asObject(work["metadata"]);
  const marks = asObject(annotations);
  const manifests = asObjects(asObject(asObject(work["spec"])["workload"])["manifests"]);
  const owner = asString(marks[OWNER_NAME]);
  return [
    ...(owner === ""
      ? []
      : [{ kind: "HyperMLService", namespace: asString(marks[OWNER_NAMESPACE]), name: owner } satisfies Subject]),
    ...manifests.map((manifest) => subjectOf({ ...asObject(manifest["metadata"]), kind: manifest["kind"] ?? "" })),
  ];
}

/** What an object's coordinates name. */
export function subjectOf({ kind, namespace, name }: JsonObject): Subject {
  const space = asString(namespace);
  return { kind: asString(kind), name: asString(name), ...(space === "" ? {} : { namespace: space }) };
}

function distinct(subjects: readonly Subject[]): Subject[] {
  return [...new Map(subjects.map((subject) => [JSON.stringify(subject), subject])).values()];
}

/** `Deployment demo/web`. */
export function sayThem(subjects: readonly Subject[]): string {
  return subjects
    .map(({ kind = "", namespace = "", name }) => `${kind} ${namespace === "" ? "" : `${namespace}/`}${name}`.trim())
    .join(", ");
}
