/** `https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH`: Azure's blobs, by signed address, access key, service principal, or in public. */
import { createHmac } from "node:crypto";
import type { Clock } from "../../../../kernel/clock/types.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { asObject, asString, parseJson } from "../../../../kernel/schema/index.js";
import { hexOfBase64 } from "../checksums.js";
import { DownloadError } from "../failures.js";
import { refusal, type StoreAnswer, StoreClient } from "../http-client.js";
import { chooseKeys, escapePath, MAX_OBJECTS, unescapePath } from "../keys.js";
import { clientOf, entryOf, type StoreSettings, variable } from "../settings.js";
import type { Listing, RemoteFile, Source } from "../types.js";
import { elements, textIn } from "../xml.js";

const HINTS = {
  AccessDenied:
    "give AZURE_STORAGE_ACCESS_KEY, a service principal (AZURE_CLIENT_ID, AZURE_CLIENT_SECRET, AZURE_TENANT_ID), or an address with a signature",
} as const;
const VERSION = "2021-08-06";

interface Blob {
  readonly key: string;
  readonly size: number;
  readonly etag: string;
  readonly md5: string | undefined;
}

interface Place {
  readonly uri: string;
  readonly account: string;
  readonly container: string;
  readonly path: string;
  readonly endpoint: string;
  /** Of the address: its signature, or nothing. */
  readonly query: URLSearchParams;
  readonly entry: JsonObject;
  readonly settings: StoreSettings;
  readonly client: StoreClient;
  readonly clock: Clock;
}

/** Opens blobs; `undefined` for addresses of others. `AZURE_STORAGE_BLOB_ENDPOINT` names another server of the same API. */
export function openAzure(uri: string, settings: StoreSettings, clock: Clock): Source | undefined {
  const { hostname, pathname, searchParams, origin } = new URL(uri);
  const account = /^([a-z0-9-]+)\.(?:z\d+\.)?blob\.core\.windows\.net$/.exec(hostname)?.[1];
  if (account === undefined) return undefined;
  const [container = "", ...path] = unescapePath(pathname, `${origin}${pathname}`).replace(/^\/+/, "").split("/");
  if (container === "") throw new DownloadError("InvalidSource", `${origin}${pathname} names no container`);
  const entry = settings.entry === undefined ? {} : entryOf(settings, "azure", "https");
  return new AzureSource({
    ...{
      uri: `${origin}${pathname}`,
      account,
      container,
      path: path.join("/"),
      query: searchParams,
      entry,
      settings,
      clock,
    },
    endpoint: (variable(settings.env, "AZURE_STORAGE_BLOB_ENDPOINT") ?? origin).replace(/\/+$/, ""),
    client: new StoreClient(clientOf(settings, entry)),
  });
}

class AzureSource implements Source {
  readonly #place: Place;
  #token: Promise<string | undefined> | undefined;

  constructor(place: Place) {
    this.#place = place;
  }

  async list(): Promise<Listing> {
    const { container, path, uri } = this.#place;
    const blobs: Blob[] = [];
    let pages = 0;
    for (let marker: string | undefined = ""; marker !== undefined; ) {
      const more: Record<string, string> = marker === "" ? {} : { marker };
      const answer = await this.#send(container, { restype: "container", comp: "list", prefix: path, ...more });
      if (answer.status !== 200) throw await refusal(answer, `listing ${uri}`, HINTS);
      const page = await answer.text();
      blobs.push(...elements(page, "Blob").map(blobOf));
      pages += 1;
      if (blobs.length > MAX_OBJECTS || pages > MAX_OBJECTS)
        throw new DownloadError("Unsupported", `${uri} holds more than ${MAX_OBJECTS} objects`);
      marker = textIn(page, "NextMarker") || undefined;
    }
    const chosen = chooseKeys(blobs, path, uri);
    return { files: chosen.map(({ object, name }) => this.#fileOf(object, name)), layout: "files" };
  }

  #fileOf({ key, size, etag, md5 }: Blob, name: string): RemoteFile {
    const { account, container } = this.#place;
    const address = `https://${account}.blob.core.windows.net/${container}/${key}`;
    return {
      ...{ name, address, size, hasRanges: true },
      ...(etag === "" ? {} : { version: etag }),
      ...(md5 === undefined ? {} : { checksum: { algorithm: "md5", hex: md5 } }),
      read: async (range) => {
        const answer = await this.#send(
          `${container}/${escapePath(key)}`,
          {},
          {
            ...(range === undefined ? {} : { range: `bytes=${range.from}-${range.to}` }),
            ...(etag === "" ? {} : { "if-match": etag.startsWith('"') ? etag : `"${etag}"` }),
          },
        );
        const isWhole = answer.status === 200 && (range === undefined || (range.from === 0 && range.to === size - 1));
        if (answer.status !== 206 && !isWhole) throw await refusal(answer, `reading ${address}`, HINTS);
        return { body: answer.body };
      },
    };
  }

  async #send(
    path: string,
    fields: Readonly<Record<string, string>>,
    conditions: Readonly<Record<string, string>> = {},
  ): Promise<StoreAnswer> {
    const { client, endpoint, query } = this.#place;
    const parameters = new URLSearchParams(query);
    for (const [name, value] of Object.entries(fields)) parameters.set(name, value);
    const url = new URL(`${endpoint}/${path}`);
    url.search = parameters.toString();
    const headers = { ...conditions, "x-ms-version": VERSION };
    return client.send({ url: url.href, headers, secrets: await this.#authorization(url, headers) });
  }

  async #authorization(url: URL, headers: Readonly<Record<string, string>>): Promise<Record<string, string>> {
    const { entry, settings, query, account, clock } = this.#place;
    if (query.has("sig")) return {};
    const key = asString(entry["access_key"]) || variable(settings.env, "AZURE_STORAGE_ACCESS_KEY");
    if (key !== undefined) return signedBy(key, account, { url, headers, nowMs: clock.now() });
    this.#token ??= this.#principal();
    const token = await this.#token;
    return token === undefined ? {} : { authorization: `Bearer ${token}` };
  }

  /** A service principal's token (OAuth 2.0, client credentials). */
  async #principal(): Promise<string | undefined> {
    const { settings, client } = this.#place;
    const { env } = settings;
    const [id, secret, tenant] = ["CLIENT_ID", "CLIENT_SECRET", "TENANT_ID"].map((name) =>
      variable(env, `AZURE_${name}`, `AZ_${name}`),
    );
    if (id === undefined || secret === undefined || tenant === undefined) return undefined;
    const host = variable(env, "AZURE_AUTHORITY_HOST") ?? "https://login.microsoftonline.com";
    const answer = await client.send({
      url: `${host.replace(/\/+$/, "")}/${encodeURIComponent(tenant)}/oauth2/v2.0/token`,
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({
        ...{ grant_type: "client_credentials", client_id: id, client_secret: secret },
        scope: "https://storage.azure.com/.default",
      }).toString(),
    });
    if (answer.status !== 200)
      throw new DownloadError("AccessDenied", (await refusal(answer, "asking Microsoft for a token")).message);
    return asString(asObject(parseJson(await answer.text()))["access_token"]);
  }

  close(): Promise<void> {
    return this.#place.client.close();
  }
}

/** Azure's "Shared Key" for blobs; servers take dates of the last 15 minutes. */
function signedBy(
  key: string,
  account: string,
  {
    url,
    headers,
    nowMs,
  }: { readonly url: URL; readonly headers: Readonly<Record<string, string>>; readonly nowMs: number },
): Record<string, string> {
  const date = new Date(nowMs).toUTCString();
  const all: Record<string, string> = { ...headers, "x-ms-date": date };
  const own = Object.entries(all)
    .filter(([name]) => name.startsWith("x-ms-"))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}:${value}`);
  const fields = [...url.searchParams.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name.toLowerCase()}:${value}`);
  const signed = [
    ...["GET", "", "", "", "", "", "", "", all["if-match"] ?? "", "", "", all["range"] ?? ""],
    ...own,
    [`/${account}${url.pathname}`, ...fields].join("\n"),
  ].join("\n");
  const signature = createHmac("sha256", Buffer.from(key, "base64")).update(signed, "utf8").digest("base64");
  return { "x-ms-date": date, authorization: `SharedKey ${account}:${signature}` };
}

function blobOf(entry: string): Blob {
  const [key, size] = [textIn(entry, "Name"), Number(textIn(entry, "Content-Length"))];
  if (key === "" || !Number.isSafeInteger(size) || size < 0)
    throw new DownloadError("InvalidSource", "the store's listing cannot be read");
  return { key, size, etag: textIn(entry, "Etag"), md5: hexOfBase64(textIn(entry, "Content-MD5"), 16) };
}
