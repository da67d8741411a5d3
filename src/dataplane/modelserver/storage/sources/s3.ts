/** `s3://BUCKET/PATH`: listing and ranged reads, signed by AWS' version 4. */
import { signedHeaders } from "../../../../kernel/aws/index.js";
import type { Clock } from "../../../../kernel/clock/types.js";
import { DownloadError } from "../failures.js";
import { refusal, type StoreAnswer, StoreClient } from "../http-client.js";
import { chooseKeys, escapePath, MAX_OBJECTS } from "../keys.js";
import { bucketUrl, type S3Settings, s3Settings } from "../s3-settings.js";
import type { StoreSettings } from "../settings.js";
import type { ByteRange, Content, Listing, RemoteFile, Source } from "../types.js";
import { elements, textIn } from "../xml.js";

interface S3Object {
  readonly key: string;
  readonly size: number;
  readonly etag: string;
}

const HINTS = { AccessDenied: "check the store's keys and what they may read" } as const;

/** Opens a model in an S3 store. Throws `DownloadError` where there are no settings for one. */
export async function openS3(uri: string, settings: StoreSettings, clock: Clock): Promise<Source> {
  const match = /^s3:\/\/([^/]+)\/?(.*)$/s.exec(uri);
  if (match?.[1] === undefined) throw new DownloadError("InvalidSource", `${uri} names no bucket`);
  const found = await s3Settings(settings, uri);
  return new S3Source({ uri, bucket: match[1], path: match[2] ?? "", settings: found, clock }, settings);
}

interface S3Place {
  readonly uri: string;
  readonly bucket: string;
  readonly path: string;
  readonly settings: S3Settings;
  readonly clock: Clock;
}

class S3Source implements Source {
  readonly #place: S3Place;
  readonly #client: StoreClient;

  constructor(place: S3Place, { client }: StoreSettings) {
    const { ca, checkCertificate } = place.settings;
    this.#place = place;
    this.#client = new StoreClient({ ...client, checkCertificate, ...(ca === undefined ? {} : { ca }) });
  }

  async list(): Promise<Listing> {
    const { path, uri } = this.#place;
    const chosen = chooseKeys(await this.#objects(), path, uri);
    return { files: chosen.map(({ object, name }) => this.#fileOf(object, name)), layout: "files" };
  }

  async #objects(): Promise<S3Object[]> {
    const { bucket, path } = this.#place;
    const objects: S3Object[] = [];
    let pages = 0;
    for (let token: string | undefined = ""; token !== undefined; ) {
      const more: Record<string, string> = token === "" ? {} : { "continuation-token": token };
      const query = new URLSearchParams({ "list-type": "2", prefix: path, ...more }).toString().replaceAll("+", "%20");
      const answer = await this.#send(`${bucketUrl(this.#place.settings, bucket)}?${query}`, {});
      if (answer.status !== 200) throw await refusal(answer, `listing s3://${bucket}/${path}${this.#on()}`, HINTS);
      const page = await answer.text();
      objects.push(...parseListing(page));
      pages += 1;
      if (objects.length > MAX_OBJECTS || pages > MAX_OBJECTS)
        throw new DownloadError("Unsupported", `s3://${bucket}/${path} holds more than ${MAX_OBJECTS} objects`);
      const next = textIn(page, "NextContinuationToken");
      token = textIn(page, "IsTruncated") === "true" && next !== "" ? next : undefined;
    }
    return objects;
  }

  #fileOf(object: S3Object, name: string): RemoteFile {
    const { bucket } = this.#place;
    // That of a single upload; those of uploads in parts end with their number.
    const md5 = /^"?([0-9a-f]{32})"?$/.exec(object.etag)?.[1];
    return {
      name,
      address: `s3://${bucket}/${object.key}`,
      size: object.size,
      ...(object.etag === "" ? {} : { version: object.etag }),
      ...(md5 === undefined ? {} : { checksum: { algorithm: "md5", hex: md5 } }),
      hasRanges: true,
      read: (range) => this.#read(object, range ?? { from: 0, to: object.size - 1 }),
    };
  }

  async #read(object: S3Object, { from, to }: ByteRange): Promise<Content> {
    const { bucket } = this.#place;
    const ifMatch = object.etag === "" ? {} : { "if-match": object.etag };
    const url = bucketUrl(this.#place.settings, bucket, escapePath(object.key));
    const answer = await this.#send(url, { range: `bytes=${from}-${to}`, ...ifMatch });
    const isWhole = answer.status === 200 && from === 0 && to === object.size - 1;
    if (answer.status !== 206 && !isWhole)
      throw await refusal(answer, `reading s3://${bucket}/${object.key}${this.#on()}`, HINTS);
    // With keys of its own a store names something else than an MD5.
    const encrypted = answer.header("x-amz-server-side-encryption") ?? "";
    const isOpaque =
      encrypted.startsWith("aws:kms") || answer.header("x-amz-server-side-encryption-customer-algorithm") !== undefined;
    return { body: answer.body, isOpaque };
  }

  #on(): string {
    return ` on ${this.#place.settings.endpoint}`;
  }

  async #send(url: string, headers: Record<string, string>): Promise<StoreAnswer> {
    const { settings, clock } = this.#place;
    const { keys, region } = settings;
    if (keys === undefined) return this.#client.send({ url, headers });
    const request = { method: "GET", to: new URL(url), headers };
    return this.#client.send({ url, secrets: signedHeaders(request, { keys, region, nowMs: clock.now() }) });
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}

function parseListing(page: string): S3Object[] {
  return elements(page, "Contents").map((entry) => {
    const [key, size] = [textIn(entry, "Key"), Number(textIn(entry, "Size"))];
    if (key === "" || !Number.isSafeInteger(size) || size < 0)
      throw new DownloadError("InvalidSource", "the store's listing cannot be read");
    return { key, size, etag: textIn(entry, "ETag") };
  });
}
