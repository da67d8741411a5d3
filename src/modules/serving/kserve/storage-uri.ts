/** Where models come from, by the words of their URIs. */
import { didYouMean } from "../../../kernel/schema/index.js";

/** Schemes that the model server fetches, or pods mount. */
const SCHEMES: readonly string[] = [
  ...["s3", "gs", "http", "https", "hf", "oci", "oci+fetch", "oci+native", "webhdfs", "models", "pvc", "file"],
];

/** Schemes that KServe knows and nothing here fetches, each with what to do instead. */
const NOT_OFFERED: Readonly<Record<string, string>> = {
  hdfs: "Hadoop's own protocol is not spoken; use webhdfs://HOST:PORT/PATH",
  modelscope: "ModelScope's hub is not asked; put the model into s3://, gs:// or oci://, or use hf://",
};

/** What a URI says. */
export interface StorageUri {
  /** Without `://`; empty for a path of the container's own. */
  readonly scheme: string;
  /** What follows. */
  readonly rest: string;
}

/** Takes a URI apart. */
export function parseStorageUri(uri: string): StorageUri {
  const match = /^([A-Za-z][A-Za-z0-9+.-]*):(?:\/\/)?(.*)$/s.exec(uri);
  return match?.[1] === undefined
    ? { scheme: "", rest: uri }
    : { scheme: match[1].toLowerCase(), rest: match[2] ?? "" };
}

/**
 * Why a URI is none that a model can come from; `undefined` when it is one. `isSupported` tells whether a ClusterStorageContainer fetches it: then
 * only its form is looked at.
 */
export function storageUriFault(uri: string, isSupported: (uri: string) => boolean = () => false): string | undefined {
  const { scheme, rest } = parseStorageUri(uri);
  if (scheme === "") return uri === "" ? "must not be empty" : undefined;
  if (rest.split("/").includes("..")) return "must not lead upwards (`..`)";
  if (isSupported(uri)) return undefined;
  return schemeFault(scheme, rest) ?? formFault(scheme, rest);
}

function schemeFault(scheme: string, rest: string): string | undefined {
  const instead = Object.hasOwn(NOT_OFFERED, scheme) ? NOT_OFFERED[scheme] : undefined;
  if (instead !== undefined)
    return `${scheme}:// is not offered: ${instead}, or add a ClusterStorageContainer that fetches it`;
  if (!SCHEMES.includes(scheme)) {
    const near = didYouMean(scheme, SCHEMES);
    const meant = near === undefined ? "" : `; did you mean ${near}://?`;
    return `${scheme}:// is no known store${meant} Use one of ${SCHEMES.map((known) => `${known}://`).join(", ")}, a path, or add a ClusterStorageContainer that fetches it`;
  }
  const [host = "", path = ""] = rest.split(/[/?#](.*)/s);
  if (/^https?$/.test(scheme) && /\.git$/.test(path.replace(/[?#].*$/s, "")))
    return "git repositories are not cloned: give the address of an archive (…/archive/refs/tags/v1.tar.gz)";
  if (/\.file\.core\.windows\.net$/.test(host))
    return "Azure's file shares are not read: use blobs (….blob.core.windows.net)";
  return undefined;
}

/** By scheme: what must follow it. */
const FORMS: Readonly<Record<string, { readonly pattern: RegExp; readonly words: string }>> = {
  pvc: {
    pattern: /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(\/|$)/,
    words: "must be followed by the name of a claim: pvc://CLAIM/PATH",
  },
  hf: {
    pattern: /^[\w.-]+\/[\w.-]+(:[^:/]+)?\/?$/,
    words: "must be followed by a model: hf://ORGANIZATION/MODEL or hf://ORGANIZATION/MODEL:REVISION",
  },
  models: {
    pattern: /^\/*[^/@]+(@[^/@]+|\/\d+)$/,
    words: "must be followed by a model and its version: models:/NAME/VERSION or models:/NAME@ALIAS",
  },
  oci: { pattern: /^[^/]+\/.+/, words: "must be followed by an image: oci://HOST/REPOSITORY:TAG" },
  "oci+fetch": { pattern: /^[^/]+\/.+/, words: "must be followed by an image: oci+fetch://HOST/REPOSITORY:TAG" },
  file: { pattern: /^/, words: "" },
};

function formFault(scheme: string, rest: string): string | undefined {
  const form = FORMS[scheme] ?? { pattern: /^[^/]+/, words: "must be followed by where the model is" };
  return form.pattern.test(rest) ? undefined : `${scheme}:// ${form.words}`;
}

/** The claim and path of a `pvc://` URI. */
export function claimOf(uri: string): { readonly claim: string; readonly path: string } | undefined {
  const { scheme, rest } = parseStorageUri(uri);
  if (scheme !== "pvc") return undefined;
  const [claim = "", ...path] = rest.split("/");
  return { claim, path: path.join("/").replace(/\/+$/, "") };
}
