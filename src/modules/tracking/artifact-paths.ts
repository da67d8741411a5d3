import { posix } from "node:path";
import { invalid } from "./errors.js";
import { decodeRepeatedly } from "./rules.js";

/**
 * The blob key of an artifact path as clients send it (already percent-decoded once). Refuses everything that could mean a
 * place outside the root under any reading: climbing, absolute, with a drive letter or a scheme, however often encoded.
 */
export function artifactKey(path: string): string {
  const plain = decodeRepeatedly(path);
  const climbs = plain.split("/").includes("..");
  const isElsewhere = plain.startsWith("/") || /^[a-zA-Z]:/.test(plain) || /^[a-zA-Z][a-zA-Z0-9+.-]*:\//.test(plain);
  if (climbs || isElsewhere || plain.includes("#")) throw invalid("Invalid path");
  const normal = posix.normalize(path);
  return normal === "." ? "" : normal.replace(/^\.\//, "").replace(/\/$/, "");
}

/**
 * The blob key that an artifact URI means; `undefined` for places that this server does not keep. The S3 server beside this one
 * serves the same blobs as bucket `artifacts`: `s3://artifacts/<key>` is `mlflow-artifacts:/<key>`.
 */
export function keyOfUri(uri: string): string | undefined {
  const match = /^(?:mlflow-artifacts:(?:\/\/[^/]+)?|s3:\/\/artifacts)\/+(.*)$/s.exec(uri);
  return match?.[1]?.replace(/\/+$/, "");
}

/** The blob key of a path below an artifact URI. */
export function keyUnder(uri: string, path: string): string {
  const root = keyOfUri(uri);
  if (root === undefined)
    throw invalid(`The artifacts lie at '${uri}', which this server does not keep. Ask for them there.`);
  const below = artifactKey(path);
  return below === "" ? root : `${root}/${below}`;
}

/** A path in a message: control characters stay visible and harmless. */
export function shownPath(path: string): string {
  return path.replace(/\p{Cc}/gu, (c) => encodeURIComponent(c));
}

const TEXT_ENDINGS = new Set(
  "txt log err cfg conf cnf cf ini properties prop hocon toml yaml yml xml json jsonl js py py3 csv tsv md rst sql sh r rmd".split(
    " ",
  ),
);
const TEXT_NAMES = new Set(["MLmodel", "MLproject"]);

/** Media type under which an artifact is downloaded: what people read is plain text, so that no browser runs it. */
export function downloadType(key: string, stored: string): string {
  const name = posix.basename(key);
  const ending = posix.extname(name).slice(1).toLowerCase();
  return TEXT_NAMES.has(name) || TEXT_ENDINGS.has(ending) ? "text/plain" : stored;
}

/** `Content-Disposition` of a download (RFC 6266): the name as a token, quoted, or with its UTF-8 beside a plain form. */
export function attachmentHeader(key: string): string {
  const name = posix.basename(key);
  const plain = name.normalize("NFKD").replace(/[^\x20-\x7e]/g, "");
  const isToken = /^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/.test(plain);
  const shown = isToken ? plain : `"${plain.replace(/["\\]/g, "\\$&")}"`;
  const extended = encodeURIComponent(name).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  return `attachment; filename=${shown}${plain === name ? "" : `; filename*=UTF-8''${extended}`}`;
}
