/** Where models come from, by the words of their URIs. */

const SCHEMES = [
  "gs",
  "s3",
  "hdfs",
  "webhdfs",
  "hf",
  "modelscope",
  "pvc",
  "file",
  "http",
  "https",
  "oci",
  "oci+native",
  "oci+fetch",
  "models",
] as const;

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

/** Why a URI is none that a model can come from; `undefined` when it is one. */
export function storageUriFault(uri: string): string | undefined {
  const { scheme, rest } = parseStorageUri(uri);
  if (scheme === "") return uri === "" ? "must not be empty" : undefined;
  if (!SCHEMES.some((known) => known === scheme))
    return `${scheme}:// is no known store; use one of ${SCHEMES.map((known) => `${known}://`).join(", ")}, or a path`;
  const [first = ""] = (scheme === "models" ? rest.replace(/^\/+/, "") : rest).split("/");
  if (scheme === "pvc" && !/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(first))
    return "pvc:// must be followed by the name of a claim: pvc://CLAIM/PATH";
  if (scheme !== "file" && first === "") return `${scheme}:// must be followed by where the model is`;
  if (rest.split("/").includes("..")) return "must not lead upwards (`..`)";
  return undefined;
}

/** The claim and path of a `pvc://` URI. */
export function claimOf(uri: string): { readonly claim: string; readonly path: string } | undefined {
  const { scheme, rest } = parseStorageUri(uri);
  if (scheme !== "pvc") return undefined;
  const [claim = "", ...path] = rest.split("/");
  return { claim, path: path.join("/").replace(/\/+$/, "") };
}
