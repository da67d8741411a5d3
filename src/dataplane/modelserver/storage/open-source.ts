/** Which store a URI means. */
import type { Clock } from "../../../kernel/clock/types.js";
import { DownloadError } from "./failures.js";
import type { StoreSettings } from "./settings.js";
import { openAzure } from "./sources/azure.js";
import { openGcs } from "./sources/gcs.js";
import { openHttp } from "./sources/http.js";
import { openHuggingFace } from "./sources/huggingface.js";
import { openOci } from "./sources/oci.js";
import { openRegistry } from "./sources/registry.js";
import { openS3 } from "./sources/s3.js";
import { openWebHdfs } from "./sources/webhdfs.js";
import type { Source } from "./types.js";

/** What sources are opened with. */
interface Opening {
  readonly settings: StoreSettings;
  readonly clock: Clock;
}

type Open = (uri: string, opening: Opening) => Source | Promise<Source>;

const web: Open = (uri, { settings, clock }) => {
  if (!URL.canParse(uri)) throw new DownloadError("InvalidSource", `${uri} is no address`);
  return openAzure(uri, settings, clock) ?? openHttp(uri, settings);
};
const oci: Open = (uri, { settings }) => openOci(uri, settings);

const SOURCES: Readonly<Record<string, Open>> = {
  s3: (uri, { settings, clock }) => openS3(uri, settings, clock),
  gs: (uri, { settings, clock }) => openGcs(uri, settings, clock),
  http: web,
  https: web,
  hf: (uri, { settings }) => openHuggingFace(uri, settings),
  oci,
  "oci+fetch": oci,
  webhdfs: (uri, { settings }) => openWebHdfs(uri, settings),
  models: (uri, opening) => openRegistry(uri, opening.settings, async (other) => openSource(other, opening)),
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
