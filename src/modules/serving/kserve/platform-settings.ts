/** What KServe's administrators set for its controllers, where those do not run: told as not carried out. */
import { ConfigMapKind } from "../../../kernel/kinds/index.js";
import { asObject, asString, parseJson } from "../../../kernel/schema/index.js";
import type { Tools } from "./tools.js";

const NAME = "inferenceservice-config";
const NAMESPACE = "kserve";
/** It is one object for all services, and changes seldom. */
const KNOWN_MS = 30_000;

interface Known {
  readonly atMs: number;
  readonly ignored: Promise<readonly string[]>;
}
const known = new WeakMap<object, Known>();

/** Settings without effect, with what takes their place; looked at anew every half minute. */
export function settingsIgnored({ context }: Pick<Tools, "context">): Promise<readonly string[]> {
  const { cluster, clock } = context;
  const nowMs = clock.monotonicMs();
  const before = known.get(cluster.informers);
  if (before !== undefined && nowMs - before.atMs < KNOWN_MS) return before.ignored;
  const ignored = cluster.client
    .resource(ConfigMapKind)
    .find(NAME, { namespace: NAMESPACE })
    .then(
      (found) => ignoredIn(found?.data),
      (error: unknown) => {
        // No service waits for what is only told; whoever comes next asks again.
        known.delete(cluster.informers);
        context.log.warn("KServe's settings cannot be looked at", { err: error });
        return [];
      },
    );
  known.set(cluster.informers, { atMs: nowMs, ignored });
  return ignored;
}

function ignoredIn(data: Readonly<Record<string, string>> | undefined): readonly string[] {
  if (data === undefined) return [];
  const named = Object.keys(data)
    .filter((name) => !name.startsWith("_"))
    .sort();
  if (named.length === 0) return [];
  const bundle = asString(asObject(parseOrNothing(data["storageInitializer"]))["caBundleConfigMapName"]);
  const instead =
    bundle === ""
      ? ""
      : `; ConfigMap ${bundle} counts where it is named by the annotation serving.argosy.dev/ca-bundle, or is called global-ca-bundle in the service's namespace`;
  return [
    `ConfigMap ${NAMESPACE}/${NAME} (${named.join(", ")}: settings of KServe's controllers, which do not run here${instead})`,
  ];
}

function parseOrNothing(text: string | undefined): unknown {
  try {
    return parseJson(text ?? "{}");
  } catch {
    return {};
  }
}
