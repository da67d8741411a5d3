/** Which ClusterStorageContainer fetches which URI. Pure. */
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { compilePattern, toJsonObject } from "../../../kernel/schema/index.js";
import type { Fault } from "../diagnosis.js";
import type { StorageContainer } from "./storage.js";
import type { ClusterStorageContainer } from "./storage-kinds.js";

/** For what a container is made. */
export type FetchWorkload = "initContainer" | "localModelDownloadJob";

/** The one that KServe ships; Argosy's own fetcher stands in for it. */
const DEFAULT_NAME = "default";

const isUsable = (one: ClusterStorageContainer, workload: FetchWorkload): boolean =>
  toJsonObject(one)["disabled"] !== true && (one.spec.workloadType ?? "initContainer") === workload;

/** How well its formats fit: the length of the longest prefix, 0 for a pattern; `undefined` when none does. */
function fitOf({ spec }: ClusterStorageContainer, uri: string): number | undefined {
  const fits = spec.supportedUriFormats.flatMap(({ prefix, regex }) => {
    if (prefix !== undefined && prefix !== "") return uri.startsWith(prefix) ? [prefix.length] : [];
    return regex !== undefined && regex !== "" && matches(regex, uri) ? [0] : [];
  });
  return fits.length === 0 ? undefined : Math.max(...fits);
}

function matches(regex: string, uri: string): boolean {
  try {
    return compilePattern(regex).test(uri);
  } catch {
    return false;
  }
}

/** Whether a container of somebody's own fetches a URI. */
export function isFetchedBy(
  containers: readonly ClusterStorageContainer[],
  uri: string,
  workload: FetchWorkload = "initContainer",
): boolean {
  return containers.some(
    (one) => one.metadata.name !== DEFAULT_NAME && isUsable(one, workload) && fitOf(one, uri) !== undefined,
  );
}

/**
 * What fetches a URI: the one that is asked for by name, else the one with the longest prefix that fits, before those with patterns; of equals the
 * first by name. `undefined`: the built-in one as it is.
 */
export function storageContainerFor(
  uri: string,
  containers: readonly ClusterStorageContainer[],
  { named, workload }: { readonly named: string; readonly workload: FetchWorkload },
): StorageContainer | Fault | undefined {
  if (named !== "") {
    const found = containers.find(({ metadata }) => metadata.name === named);
    const why =
      found === undefined
        ? "there is none of that name"
        : !isUsable(found, workload)
          ? `it is disabled, or no ${workload}`
          : fitOf(found, uri) === undefined
            ? `its supportedUriFormats do not have ${uri.replace(/[?#].*$/s, "")}`
            : undefined;
    if (found !== undefined && why === undefined) return containerOf(found);
    return { reason: "InvalidPredictorSpec", message: `storageContainerName ${named}: ${why ?? ""}` };
  }
  const fitting = containers.flatMap((one) => {
    const fit = isUsable(one, workload) ? fitOf(one, uri) : undefined;
    return fit === undefined ? [] : [{ one, fit }];
  });
  const [best] = fitting.sort(
    (a, b) =>
      Number(a.one.metadata.name === DEFAULT_NAME) - Number(b.one.metadata.name === DEFAULT_NAME) ||
      b.fit - a.fit ||
      (a.one.metadata.name < b.one.metadata.name ? -1 : 1),
  );
  return best === undefined ? undefined : containerOf(best.one);
}

function containerOf({ metadata, spec }: ClusterStorageContainer): StorageContainer {
  const container: JsonObject = toJsonObject(spec.container);
  return { name: metadata.name, container, isBuiltIn: metadata.name === DEFAULT_NAME };
}
