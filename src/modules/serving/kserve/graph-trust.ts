/** The authorities that a graph's routers, and who fetches a service's models, trust beside the public ones: a ConfigMap of the namespace. */
import { createHash } from "node:crypto";
import { bundleFault } from "../../../dataplane/graph/index.js";
import type { ClusterAccess } from "../../../kernel/control/types.js";
import type { JsonObject, KubeObject } from "../../../kernel/kinds/index.js";
import { ConfigMapKind } from "../../../kernel/kinds/index.js";
import { asObject, asObjects, asString } from "../../../kernel/schema/index.js";
import type { Fault } from "../diagnosis.js";
import { annotationOf, OWN } from "./annotations.js";

/** Which part of which ConfigMap. */
export interface Trust {
  readonly name: string;
  readonly key: string;
  /** Of its content. */
  readonly hash: string;
}

/** What KServe's controller copies into every namespace from `caBundleConfigMapName` of its settings. */
const GLOBAL = "global-ca-bundle";
const KEY = "cabundle.crt";

/** Whether a router that is given this spec asks a service over https. */
export const asksByHttps = (spec: JsonObject): boolean =>
  Object.values(asObject(spec["nodes"])).some((node) =>
    asObjects(asObject(node)["steps"]).some(({ serviceUrl }) => /^https:/i.test(asString(serviceUrl))),
  );

/** What an object's annotation names, or else KServe's, where that is there; `undefined`: the public ones only. */
export async function trustOf(object: KubeObject, cluster: ClusterAccess): Promise<Trust | Fault | undefined> {
  const named = annotationOf(object, OWN.caBundle);
  const [name = "", key = KEY] = (named ?? GLOBAL).split("/", 2);
  const { namespace = "" } = object.metadata;
  const found = name === "" ? undefined : await cluster.client.resource(ConfigMapKind).find(name, { namespace });
  const pem = found?.data?.[key];
  if (named === undefined && pem === undefined) return undefined;
  const fault =
    found === undefined
      ? "is not there"
      : pem === undefined
        ? `has no key ${key}; it has ${Object.keys(found.data ?? {}).join(", ") || "none"}`
        : bundleFault(pem);
  if (fault !== undefined || pem === undefined)
    return {
      reason: "InvalidCABundle",
      message: `ConfigMap ${name} with the authorities to trust (${key}) ${fault ?? ""}`,
    };
  return { name, key, hash: createHash("sha256").update(pem).digest("hex").slice(0, 16) };
}
