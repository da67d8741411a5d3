/** Reading from an S3 store: settings as s3cmd writes them, listing, ranged reads. */
import { readFile } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { AwsV4Signer } from "aws4fetch";
import { Agent, request } from "undici";
import type { Clock } from "../../kernel/clock/types.js";
import { messageOf } from "../../kernel/errors/index.js";
import { ModelError } from "./failures.js";
import { settingsInEntry } from "./s3-settings.js";

/** What an `.s3cfg` says. */
export interface S3Settings {
  /** `https://host:port`. */
  readonly endpoint: string;
  readonly accessKey: string;
  readonly secretKey: string;
  readonly sessionToken?: string;
  readonly region: string;
  /** PEM of the CAs to trust instead of the system's. */
  readonly ca?: string;
  readonly checkCertificate: boolean;
}

/** An object in a store. */
export interface S3Object {
  readonly key: string;
  readonly size: number;
  readonly etag: string;
}

/** A store that can be read. Failures are `ModelError` with reason `ModelDownloadFailed`; `transient` where waiting may help. */
export interface S3Reader {
  /** Objects under a prefix, or the one object of exactly that key. */
  list(bucket: string, prefix: string): Promise<S3Object[]>;
  /** Bytes `from`..`to` (inclusive) of the object as it was listed; a changed object is a transient failure. */
  read(bucket: string, object: S3Object, range: { from: number; to: number }): Promise<AsyncIterable<Uint8Array>>;
  close(): Promise<void>;
}

/**
 * Reads an entry of KServe's `storage-config`, or an `.s3cfg` (`[default]`, `name = value`): host_base, access_key, secret_key, use_https, bucket_location, access_token,
 * check_ssl_certificate, and the CAs to trust: ca_certs_file (relative to the file) or ca_certs (PEM, line ends written as \n). Throws `ModelError` that names the file and the field, never a value.
 */
export async function readS3Settings(file: string): Promise<S3Settings> {
  const fail = (message: string): never => {
    throw new ModelError("ModelDownloadFailed", `${file}: ${message}`);
  };
  const text = await readFile(file, "utf8").catch((error: unknown) =>
    fail(`cannot read the S3 settings: ${messageOf(error)}`),
  );
  if (text.trimStart().startsWith("{")) return settingsInEntry(text, file);
  const fields = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*([a-z_]+)\s*=\s*(.*?)\s*$/.exec(line);
    if (match?.[1] !== undefined) fields.set(match[1], match[2] ?? "");
  }
  const need = (name: string): string => {
    const value = fields.get(name);
    return value === undefined || value === "" ? fail(`${name} is missing`) : value;
  };
  const flag = (name: string, fallback: boolean): boolean => {
    const value = fields.get(name)?.toLowerCase();
    if (value === undefined || value === "") return fallback;
    if (["true", "yes", "on", "1"].includes(value)) return true;
    return ["false", "no", "off", "0"].includes(value) ? false : fail(`${name} must be True or False`);
  };
  const host = need("host_base")
    .replace(/^https?:\/\//, "")
    .replace(/\/+$/, "");
  const endpoint = `${flag("use_https", true) ? "https" : "http"}://${host}`;
  if (!URL.canParse(endpoint)) fail("host_base is no host name with an optional port");
  const caFile = fields.get("ca_certs_file");
  const caPath =
    caFile === undefined || caFile === "" ? undefined : isAbsolute(caFile) ? caFile : join(dirname(file), caFile);
  const ca =
    caPath === undefined
      ? fields.get("ca_certs")?.replaceAll("\\n", "\n") || undefined
      : await readFile(caPath, "utf8").catch((error: unknown) => fail(`ca_certs_file: ${messageOf(error)}`));
  const sessionToken = fields.get("access_token");
  return {
    endpoint,
    accessKey: need("access_key"),
    secretKey: need("secret_key"),
    ...(sessionToken === undefined || sessionToken === "" ? {} : { sessionToken }),
    region: fields.get("bucket_location") || "us-east-1",
    ...(ca === undefined ? {} : { ca }),
    checkCertificate: flag("check_ssl_certificate", true),
  };
}

const MAX_OBJECTS = 10_000;

/** Connects to a store (nothing is sent yet). */
export function createS3Reader(settings: S3Settings, clock: Clock): S3Reader {
  return new SignedS3Reader(settings, clock);
}

type S3Answer = Awaited<ReturnType<typeof request>>;

class SignedS3Reader implements S3Reader {
  readonly #settings: S3Settings;
  readonly #clock: Clock;
  readonly #dispatcher: Agent;

  constructor(settings: S3Settings, clock: Clock) {
    this.#settings = settings;
    this.#clock = clock;
    const ca = settings.ca === undefined ? {} : { ca: settings.ca };
    const connect = { rejectUnauthorized: settings.checkCertificate, timeout: 5_000, ...ca };
    this.#dispatcher = new Agent({ connect, headersTimeout: 20_000, bodyTimeout: 20_000, connections: 16 });
  }

  async list(bucket: string, prefix: string): Promise<S3Object[]> {
    const objects: S3Object[] = [];
    for (let token: string | undefined = ""; token !== undefined; ) {
      const more: Record<string, string> = token === "" ? {} : { "continuation-token": token };
      const query = new URLSearchParams({ "list-type": "2", prefix, ...more }).toString().replaceAll("+", "%20");
      const answer = await this.#send(`${encodeURIComponent(bucket)}?${query}`, {});
      if (answer.statusCode !== 200) return this.#refuse(answer, `listing s3://${bucket}/${prefix}`);
      const page = await answer.body.text();
      objects.push(...parseListing(page));
      if (objects.length > MAX_OBJECTS) {
        throw new ModelError("ModelDownloadFailed", `s3://${bucket}/${prefix} holds more than ${MAX_OBJECTS} objects`);
      }
      const next = /<NextContinuationToken>([^<]*)</.exec(page)?.[1];
      token = /<IsTruncated>true/.test(page) && next !== undefined ? decodeXml(next) : undefined;
    }
    return objects;
  }

  async read(
    bucket: string,
    object: S3Object,
    { from, to }: { from: number; to: number },
  ): Promise<AsyncIterable<Uint8Array>> {
    const path = object.key.split("/").map(encodeURIComponent).join("/");
    const headers = { range: `bytes=${from}-${to}`, "if-match": object.etag };
    const answer = await this.#send(`${encodeURIComponent(bucket)}/${path}`, headers);
    const whole = answer.statusCode === 200 && from === 0 && to === object.size - 1;
    if (answer.statusCode !== 206 && !whole) return this.#refuse(answer, `reading s3://${bucket}/${object.key}`);
    return answer.body;
  }

  close(): Promise<void> {
    return this.#dispatcher.close();
  }

  async #send(path: string, headers: Record<string, string>): Promise<S3Answer> {
    const { endpoint, accessKey, secretKey, sessionToken, region } = this.#settings;
    const signer = new AwsV4Signer({
      method: "GET",
      url: `${endpoint}/${path}`,
      headers,
      accessKeyId: accessKey,
      secretAccessKey: secretKey,
      ...(sessionToken === undefined ? {} : { sessionToken }),
      service: "s3",
      region,
      datetime: new Date(this.#clock.now()).toISOString().replace(/[:-]|\.\d{3}/g, ""),
    });
    const signed = await signer.sign();
    try {
      return await request(signed.url, { headers: Object.fromEntries(signed.headers), dispatcher: this.#dispatcher });
    } catch (error) {
      throw asDownloadError(error, endpoint);
    }
  }

  async #refuse(answer: S3Answer, what: string): Promise<never> {
    const text = (await answer.body.text().catch(() => "")).slice(0, 2000);
    const code = /<Code>([^<]*)<\/Code>/.exec(text)?.[1];
    const { statusCode } = answer;
    const transient = statusCode >= 500 || statusCode === 429 || statusCode === 412;
    const hint = statusCode === 403 ? "; check the keys in the .s3cfg and what they may read" : "";
    const said = code === undefined ? "" : ` ${code}`;
    throw new ModelError("ModelDownloadFailed", `${what} on ${this.#settings.endpoint}: ${statusCode}${said}${hint}`, {
      transient,
    });
  }
}

/** A failure of the connection as a `ModelError`; a certificate that is not trusted stays so. */
export function asDownloadError(error: unknown, endpoint: string): ModelError {
  if (error instanceof ModelError) return error;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const certificate = /CERT|SELF_SIGNED|ALTNAME|UNABLE_TO/.test(code);
  const hint = certificate ? "; name the CA in ca_certs or ca_certs_file of the .s3cfg" : "";
  return new ModelError("ModelDownloadFailed", `cannot read from ${endpoint}: ${messageOf(error)}${hint}`, {
    cause: error,
    transient: !certificate,
  });
}

function parseListing(page: string): S3Object[] {
  const objects: S3Object[] = [];
  for (const [, entry = ""] of page.matchAll(/<Contents>([\s\S]*?)<\/Contents>/g)) {
    const field = (name: string): string => decodeXml(new RegExp(`<${name}>([^<]*)</${name}>`).exec(entry)?.[1] ?? "");
    const size = Number(field("Size"));
    if (field("Key") === "" || !Number.isSafeInteger(size) || size < 0)
      throw new ModelError("ModelDownloadFailed", "the store's listing cannot be read");
    objects.push({ key: field("Key"), size, etag: field("ETag") });
  }
  return objects;
}

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function decodeXml(text: string): string {
  return text.replace(
    /&(?:#x([0-9a-fA-F]{1,6})|#(\d{1,7})|(\w+));/g,
    (all, hex?: string, decimal?: string, name?: string) => {
      if (name !== undefined) return ENTITIES[name] ?? all;
      const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
      return code <= 0x10ffff ? String.fromCodePoint(code) : all;
    },
  );
}
