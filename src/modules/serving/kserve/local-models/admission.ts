/** What is refused when local models are written and removed. */
import type { StatusCause } from "../../../../kernel/errors/index.js";
import { type JsonObject, tryParseQuantity } from "../../../../kernel/kinds/index.js";
import type { Level, ModuleAdmission } from "../../../../kernel/module/types.js";
import { asObject, asObjects, asString } from "../../../../kernel/schema/index.js";
import { isFetchedBy } from "../storage-containers.js";
import {
  ClusterStorageContainerKind,
  LocalModelCacheKind,
  LocalModelNamespaceCacheKind,
  LocalModelNodeGroupKind,
} from "../storage-kinds.js";
import { storageUriFault } from "../storage-uri.js";
import { NAMESPACE_LIMIT } from "./names.js";

const invalid = (field: string, message: string): StatusCause => ({ reason: "FieldValueInvalid", field, message });

/** Both kinds of caches and the groups. */
export function localModelAdmission(level: Level): ModuleAdmission[] {
  return [
    ...[LocalModelCacheKind, LocalModelNamespaceCacheKind].map(
      (kind): ModuleAdmission => ({
        kind,
        level,
        review: async (object, old, cluster) => {
          const size = sizeFaults(object, old);
          if (old !== undefined) return { faults: size, warnings: [] };
          const uri = asString(asObject(object["spec"])["sourceModelUri"]);
          const { items } = await cluster.client.resource(ClusterStorageContainerKind).list();
          const fault = uriFault(uri, (one) => isFetchedBy(items, one, "localModelDownloadJob"));
          return {
            faults: [...size, ...(fault === undefined ? [] : [invalid("spec.sourceModelUri", `${uri}: ${fault}`)])],
            warnings: [],
          };
        },
        reviewDeletion: (object) => ({ faults: useFaults(object), warnings: [] }),
      }),
    ),
    {
      kind: LocalModelNodeGroupKind,
      level,
      review: async (object) => ({ faults: groupFaults(object), warnings: [] }),
      reviewDeletion: (object) => ({ faults: useFaults(object), warnings: [] }),
    },
  ];
}

/** What is in use stays: running pods would lose their model, and new ones would have no node to go to. */
function useFaults(object: JsonObject): StatusCause[] {
  const users = asObjects(asObject(object["status"])["inferenceServices"]).map(
    ({ namespace, name }) => `${asString(namespace)}/${asString(name)}`,
  );
  const message = `it is used by the InferenceServices ${users.join(", ")}: remove them, or annotate them with serving.kserve.io/disable-localmodel: "true"`;
  return users.length === 0 ? [] : [{ reason: "FieldValueForbidden", field: "metadata", message }];
}

/** A size that is written anew must be one. */
function sizeFaults(object: JsonObject, old: JsonObject | undefined): StatusCause[] {
  const sizeIn = (of: JsonObject | undefined): string => {
    const size = asObject(of?.["spec"])["modelSize"];
    return typeof size === "number" ? String(size) : asString(size);
  };
  const bytes = tryParseQuantity(sizeIn(object));
  const isOne = bytes !== undefined && bytes.nanos > 0n;
  return isOne || (old !== undefined && sizeIn(old) === sizeIn(object))
    ? []
    : [invalid("spec.modelSize", "must be more than 0")];
}

/** What is on one machine, or in a volume already, is not brought to nodes. */
function uriFault(uri: string, isFetched: (uri: string) => boolean): string | undefined {
  if (/^(pvc|file|oci\+native):|^[^:]*$/.test(uri)) return "is no store that nodes can fetch from";
  return storageUriFault(uri, isFetched);
}

function groupFaults(object: JsonObject): StatusCause[] {
  const volume = asObject(asObject(object["spec"])["persistentVolumeSpec"]);
  const path = asString(asObject(volume["local"])["path"]) || asString(asObject(volume["hostPath"])["path"]);
  const limit = asObject(asObject(object["metadata"])["annotations"])[NAMESPACE_LIMIT];
  return [
    ...(path.startsWith("/") && path.length > 1 && !path.split("/").includes("..")
      ? []
      : [
          invalid(
            "spec.persistentVolumeSpec",
            "must be local or hostPath with an absolute path: folders of nodes are what models are kept in",
          ),
        ]),
    ...(limit === undefined || tryParseQuantity(asString(limit)) !== undefined
      ? []
      : [invalid(`metadata.annotations[${NAMESPACE_LIMIT}]`, `${asString(limit)} is no quantity, as 50Gi is one`)]),
  ];
}
