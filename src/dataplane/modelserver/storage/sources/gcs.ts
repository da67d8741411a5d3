/** `gs://BUCKET/PATH`: Google's JSON API (storage/v1). */
import type { Clock } from "../../../../kernel/clock/types.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { asObject, asObjects, asString, parseJson } from "../../../../kernel/schema/index.js";
import { hexOfBase64 } from "../checksums.js";
import { DownloadError } from "../failures.js";
import { googleToken } from "../google-token.js";
import { refusal, type StoreAnswer, StoreClient } from "../http-client.js";
import { chooseKeys, MAX_OBJECTS } from "../keys.js";
import { clientOf, entryOf, type StoreSettings, variable } from "../settings.js";
import type { Checksum, Listing, RemoteFile, Source } from "../types.js";

interface GoogleObject {
  readonly key: string;
  readonly size: number;
  readonly generation: string;
  readonly checksum: Checksum | undefined;
}

const HINTS = {
  AccessDenied: "give a service account that may read it (GOOGLE_APPLICATION_CREDENTIALS)",
} as const;

/** Opens a model in a bucket of Google's. `STORAGE_EMULATOR_HOST` names another server of the same API. */
export function openGcs(uri: string, settings: StoreSettings, clock: Clock): Source {
  const match = /^gs:\/\/([^/]+)\/?(.*)$/s.exec(uri);
  if (match?.[1] === undefined) throw new DownloadError("InvalidSource", `${uri} names no bucket`);
  const host = variable(settings.env, "STORAGE_EMULATOR_HOST") ?? "https://storage.googleapis.com";
  const endpoint = (host.includes("://") ? host : `http://${host}`).replace(/\/+$/, "");
  const entry = settings.entry === undefined ? {} : entryOf(settings, "gs", "gcs");
  const client = new StoreClient(clientOf(settings, entry));
  const token = (): Promise<string | undefined> => googleToken(settings, entry, { client, clock });
  return new GcsSource({ uri, bucket: match[1], path: match[2] ?? "", endpoint, client, token });
}

interface Place {
  readonly uri: string;
  readonly bucket: string;
  readonly path: string;
  readonly endpoint: string;
  readonly client: StoreClient;
  readonly token: () => Promise<string | undefined>;
}

class GcsSource implements Source {
  readonly #place: Place;
  #token: Promise<string | undefined> | undefined;

  constructor(place: Place) {
    this.#place = place;
  }

  async list(): Promise<Listing> {
    const { path, uri, bucket } = this.#place;
    const objects: GoogleObject[] = [];
    let pages = 0;
    for (let page: string | undefined = ""; page !== undefined; ) {
      const query = new URLSearchParams({ prefix: path, ...(page === "" ? {} : { pageToken: page }) });
      const answer = await this.#send(`o?${query.toString()}`);
      if (answer.status !== 200) throw await refusal(answer, `listing gs://${bucket}/${path}`, HINTS);
      const body = asObject(parseJson(await answer.text()));
      objects.push(...asObjects(body["items"]).map(objectOf));
      pages += 1;
      if (objects.length > MAX_OBJECTS || pages > MAX_OBJECTS)
        throw new DownloadError("Unsupported", `${uri} holds more than ${MAX_OBJECTS} objects`);
      page = asString(body["nextPageToken"]) || undefined;
    }
    const chosen = chooseKeys(objects, path, uri);
    return { files: chosen.map(({ object, name }) => this.#fileOf(object, name)), layout: "files" };
  }

  #fileOf({ key, size, generation, checksum }: GoogleObject, name: string): RemoteFile {
    const address = `gs://${this.#place.bucket}/${key}`;
    return {
      ...{ name, address, size, hasRanges: true },
      ...(generation === "" ? {} : { version: generation }),
      ...(checksum === undefined ? {} : { checksum }),
      read: async (range) => {
        const query = new URLSearchParams({
          alt: "media",
          ...(generation === "" ? {} : { ifGenerationMatch: generation }),
        });
        const headers = range === undefined ? {} : { range: `bytes=${range.from}-${range.to}` };
        const answer = await this.#send(`o/${encodeURIComponent(key)}?${query.toString()}`, headers);
        const isWhole = answer.status === 200 && (range === undefined || (range.from === 0 && range.to === size - 1));
        if (answer.status !== 206 && !isWhole) throw await refusal(answer, `reading ${address}`, HINTS);
        return { body: answer.body };
      },
    };
  }

  async #send(path: string, headers: Record<string, string> = {}): Promise<StoreAnswer> {
    const { client, endpoint, bucket, token } = this.#place;
    this.#token ??= token();
    const bearer = await this.#token;
    return client.send({
      url: `${endpoint}/storage/v1/b/${encodeURIComponent(bucket)}/${path}`,
      headers: { "accept-encoding": "identity", ...headers },
      secrets: bearer === undefined ? {} : { authorization: `Bearer ${bearer}` },
    });
  }

  close(): Promise<void> {
    return this.#place.client.close();
  }
}

function objectOf(item: JsonObject): GoogleObject {
  const size = Number(asString(item["size"]));
  if (asString(item["name"]) === "" || asString(item["size"]) === "" || !Number.isSafeInteger(size))
    throw new DownloadError("InvalidSource", "the store's listing cannot be read");
  const md5 = hexOfBase64(asString(item["md5Hash"]), 16);
  const crc32c = hexOfBase64(asString(item["crc32c"]), 4);
  return {
    key: asString(item["name"]),
    size,
    generation: asString(item["generation"]),
    checksum:
      md5 !== undefined
        ? { algorithm: "md5", hex: md5 }
        : crc32c === undefined
          ? undefined
          : { algorithm: "crc32c", hex: crc32c },
  };
}
