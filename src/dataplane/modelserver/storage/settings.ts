/** With what stores are read: a file (an `.s3cfg`, or an entry of KServe's Secret `storage-config`), and the environment. */
import { readFile } from "node:fs/promises";
import { messageOf } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { asString, isObject, parseJson } from "../../../kernel/schema/index.js";
import { DownloadError } from "./failures.js";
import type { ClientOptions } from "./http-client.js";

/** Variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What a source is opened with. */
export interface StoreSettings {
  readonly env: Environment;
  /** The file's text and name; absent: there is none. */
  readonly file: { readonly path: string; readonly text: string } | undefined;
  /** The file as an entry of `storage-config`. */
  readonly entry: JsonObject | undefined;
  readonly client: ClientOptions;
}

/** Reads the file. Throws `DownloadError` that names it, never a value. */
export async function readSettings(
  path: string | undefined,
  env: Environment,
  client: ClientOptions = {},
): Promise<StoreSettings> {
  if (path === undefined) return { env, file: undefined, entry: undefined, client };
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw new DownloadError("InvalidSource", `${path}: cannot read the store's settings: ${messageOf(error)}`);
  });
  if (!text.trimStart().startsWith("{")) return { env, file: { path, text }, entry: undefined, client };
  const entry = parseJson(text);
  if (!isObject(entry) || Object.keys(entry).length === 0)
    throw new DownloadError("InvalidSource", `${path}: is no JSON object`);
  return { env, file: { path, text }, entry, client };
}

/** The authorities that ARGOSY_CA_BUNDLE names, beside the public ones. Read anew for each fetch: bundles change. Throws `DownloadError`. */
export async function readTrust(env: Environment): Promise<Pick<ClientOptions, "ca">> {
  const path = variable(env, "ARGOSY_CA_BUNDLE");
  if (path === undefined) return {};
  const pem = await readFile(path, "utf8").catch((error: unknown) => {
    throw new DownloadError("InvalidSource", `ARGOSY_CA_BUNDLE: ${messageOf(error)}`);
  });
  // Late: few need them.
  const { rootCertificates } = await import("node:tls");
  return { ca: [...rootCertificates, pem].join("\n") };
}

/** A variable that says something. */
export function variable(env: Environment, ...names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = env[name]?.trim();
    if (value !== undefined && value !== "") return value;
  }
  return undefined;
}

/** The entry where it is of one of the types. Throws `DownloadError` where it is of another. */
export function entryOf({ entry, file }: StoreSettings, ...types: readonly string[]): JsonObject {
  const type = asString(entry?.["type"]);
  if (type !== "" && !types.includes(type))
    throw new DownloadError("InvalidSource", `${file?.path ?? ""}: type must be ${types.join(" or ")}, not ${type}`);
  return entry ?? {};
}

/** How a store of the user's own is reached: `verify_ssl` and `certificate` of the entry. */
export function clientOf({ client }: StoreSettings, entry: JsonObject): ClientOptions {
  const ca = asString(entry["certificate"]) || asString(entry["cabundle"]);
  return {
    ...client,
    ...(ca === "" ? {} : { ca }),
    ...(isOff(entry["verify_ssl"]) ? { checkCertificate: false } : {}),
  };
}

/** Whether a switch is off, as people write that. */
export const isOff = (value: unknown): boolean =>
  value === false || value === "0" || /^(false|no|off)$/i.test(asString(value));

/** Whether a switch is on. */
export const isOn = (value: unknown): boolean =>
  value === true || value === "1" || /^(true|yes|on)$/i.test(asString(value));
