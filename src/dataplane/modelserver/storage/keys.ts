/** Which objects of a store are a model's files. */

import { DownloadError } from "./failures.js";

/** Most objects that one model may have. */
export const MAX_OBJECTS = 10_000;

/** An object and its path below the model's folder. */
export interface ChosenKey<T> {
  readonly object: T;
  readonly name: string;
}

/** The path is a folder (with or without its slash) or one object. Throws `DownloadError` where it is neither, or holds what is no file name. */
export function chooseKeys<T extends { readonly key: string }>(
  objects: readonly T[],
  path: string,
  uri: string,
): ChosenKey<T>[] {
  const exact = objects.find(({ key }) => key === path && path !== "" && !path.endsWith("/"));
  if (exact !== undefined) return [{ object: exact, name: path.split("/").at(-1) ?? path }];
  const folder = path === "" || path.endsWith("/") ? path : `${path}/`;
  const files = objects
    .filter(({ key }) => key.startsWith(folder) && !key.endsWith("/"))
    .map((object) => ({ object, name: object.key.slice(folder.length) }));
  if (files.length === 0) throw new DownloadError("NotFound", `${uri} holds no files`);
  if (files.length > MAX_OBJECTS)
    throw new DownloadError("Unsupported", `${uri} holds more than ${MAX_OBJECTS} objects`);
  for (const { name } of files) checkName(name, uri);
  return files;
}

/** Refuses paths that lead out of a folder. */
export function checkName(name: string, uri: string): void {
  const bad = name.split("/").some((segment) => segment === "" || segment === "." || segment === "..");
  if (bad || name.includes("\0"))
    throw new DownloadError("InvalidSource", `${uri} holds ${JSON.stringify(name)}, which is no file name`);
}

/** A path for a URL: every segment escaped. */
export const escapePath = (path: string): string => path.split("/").map(encodeURIComponent).join("/");

/** Whether the model is one archive, by its name. */
export const isSingleArchive = (names: readonly string[]): boolean =>
  names.length === 1 && /\.(tar|tar\.gz|tgz|zip)$/i.test(names[0] ?? "");

/** A path of a URL as people read it. Throws `DownloadError` for escapes that are none. */
export function unescapePath(text: string, uri: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    throw new DownloadError("InvalidSource", `${uri} has an escape (%) that is none`, { cause: error });
  }
}
