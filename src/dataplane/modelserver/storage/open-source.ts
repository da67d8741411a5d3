/** Which store a URI means. */
import type { Clock } from "../../../kernel/clock/types.js";
import { DownloadError } from "./failures.js";
import type { StoreSettings } from "./settings.js";
import type { Source } from "./types.js";

/** What sources are opened with. */
interface Opening {
  readonly settings: StoreSettings;
  readonly clock: Clock;
}

type Open = (uri: string, opening: Opening) => Promise<Source>;

const web: Open = async (uri, { settings, clock }) => {
  if (!URL.canParse(uri)) throw new DownloadError("InvalidSource", `${uri} is no address`);
  const [{ openAzure }, { openHttp }] = await Promise.all([import("./sources/azure.js"), import("./sources/http.js")]);
  return openAzure(uri, settings, clock) ?? openHttp(uri, settings);
};
const oci: Open = async (uri, { settings }) => (await import("./sources/oci.js")).openOci(uri, settings);

/** Each is loaded when it is asked for: who fetches for a pod that starts reads one store, and is waited for. */
const SOURCES: Readonly<Record<string, Open>> = {
  s3: async (uri, { settings, clock }) => (await import("./sources/s3.js")).openS3(uri, settings, clock),
  gs: async (uri, { settings, clock }) => (await import("./sources/gcs.js")).openGcs(uri, settings, clock),
  http: web,
  https: web,
  hf: async (uri, { settings }) => (await import("./sources/huggingface.js")).openHuggingFace(uri, settings),
  oci,
  "oci+fetch": oci,
  webhdfs: async (uri, { settings }) => (await import("./sources/webhdfs.js")).openWebHdfs(uri, settings),
  models: async (uri, opening) => {
    const { openRegistry } = await import("./sources/registry.js");
    return openRegistry(uri, opening.settings, async (other) => openSource(other, opening));
  },
};

/** Opens the store that a URI names. Throws `DownloadError` of reason `Unsupported` for others. */
export async function openSource(uri: string, opening: Opening): Promise<Source> {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(uri)?.[1]?.toLowerCase() ?? "";
  const open = Object.hasOwn(SOURCES, scheme) ? SOURCES[scheme] : undefined;
  if (open === undefined)
    throw new DownloadError(
      "Unsupported",
      `${uri}: ${scheme}:// is not offered; there are ${Object.keys(SOURCES).join(", ")}, file and folders`,
    );
  return open(uri, opening);
}
