/** `https://…`, `http://…`: one file or archive, by ranges where the server has them. */
import { Readable } from "node:stream";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { asString, isObject, parseJson } from "../../../../kernel/schema/index.js";
import { hexOfBase64 } from "../checksums.js";
import { DownloadError } from "../failures.js";
import { refusal, type StoreAnswer, StoreClient, shown } from "../http-client.js";
import { checkName, unescapePath } from "../keys.js";
import { clientOf, entryOf, type StoreSettings } from "../settings.js";
import type { ByteRange, Checksum, Content, Listing, RemoteFile, Source } from "../types.js";

/** A file as its server describes it. */
interface Seen {
  readonly url: string;
  readonly size: number | undefined;
  readonly etag: string | undefined;
  readonly changed: string | undefined;
  readonly hasRanges: boolean;
  readonly checksum: Checksum | undefined;
  readonly name: string | undefined;
}

/** Opens a file on a web server. `#sha256=HEX` behind the address says what it must be. */
export function openHttp(uri: string, settings: StoreSettings): Source {
  const entry = settings.entry === undefined ? {} : entryOf(settings, "http", "https");
  return new HttpSource(uri, headersFor(uri, settings, entry), new StoreClient(clientOf(settings, entry)));
}

/** Headers of the entry, and of KServe's Secrets, which name their host: variable `HOST-headers`, in JSON. */
function headersFor(uri: string, { env }: StoreSettings, entry: JsonObject): Record<string, string> {
  const host = new URL(uri).hostname;
  const own = env[`${host}-headers`];
  const written = own === undefined ? entry["headers"] : parseJson(own);
  const headers = typeof written === "string" ? parseJson(written) : written;
  if (headers !== undefined && !isObject(headers))
    throw new DownloadError("InvalidSource", `the headers for ${host} are no JSON object of names and values`);
  const { username, password } = new URL(uri);
  const user = `${unescapePath(username, shown(uri))}:${unescapePath(password, shown(uri))}`;
  const named: Record<string, string> =
    username === "" ? {} : { authorization: `Basic ${Buffer.from(user).toString("base64")}` };
  for (const [name, value] of Object.entries(headers ?? {})) {
    const text = asString(value);
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name) || /[\r\n\0]/.test(text))
      throw new DownloadError("InvalidSource", `the headers for ${host} have one that is none`);
    named[name.toLowerCase()] = text;
  }
  return named;
}

class HttpSource implements Source {
  readonly #uri: string;
  readonly #secrets: Record<string, string>;
  readonly #client: StoreClient;

  constructor(uri: string, secrets: Record<string, string>, client: StoreClient) {
    this.#uri = uri;
    this.#secrets = secrets;
    this.#client = client;
  }

  async list(): Promise<Listing> {
    const { hash, pathname } = new URL(this.#uri);
    const wanted = /^#sha256=([0-9a-f]{64})$/i.exec(hash)?.[1]?.toLowerCase();
    if (hash !== "" && wanted === undefined)
      throw new DownloadError(
        "InvalidSource",
        `${shown(this.#uri)}${hash}: expected #sha256= and 64 hexadecimal digits`,
      );
    const seen = await this.#look();
    const checksum = wanted === undefined ? seen.checksum : ({ algorithm: "sha256", hex: wanted } as const);
    const name = seen.name ?? unescapePath(pathname.split("/").at(-1) ?? "", shown(this.#uri));
    if (name === "") throw new DownloadError("InvalidSource", `${shown(this.#uri)} names no file`);
    checkName(name, shown(this.#uri));
    const version = seen.etag ?? seen.changed;
    const file: RemoteFile = {
      name,
      address: shown(this.#uri),
      ...(seen.size === undefined ? {} : { size: seen.size }),
      // Without one of them parts of two files might be put together.
      ...(version === undefined ? {} : { version: JSON.stringify([new URL(this.#uri).search, version]) }),
      ...(checksum === undefined ? {} : { checksum }),
      hasRanges: seen.hasRanges && version !== undefined,
      read: async (range) => (seen.size === 0 ? { body: Readable.from([]) } : this.#read(seen, range)),
    };
    return { files: [file], layout: "files" };
  }

  /** Asks for the first byte: not every server that answers GET answers HEAD, and addresses may be signed for one of them. */
  async #look(): Promise<Seen> {
    const answer = await this.#client.send({ url: this.#uri, headers: { range: "bytes=0-0" }, secrets: this.#secrets });
    const isEmpty = answer.status === 416 && /\*\/0$/.test(answer.header("content-range") ?? "");
    if (answer.status !== 200 && answer.status !== 206 && !isEmpty) throw await this.#refusal(answer);
    answer.drop();
    const total = /\/(\d+)$/.exec(answer.header("content-range") ?? "")?.[1] ?? answer.header("content-length");
    const isPartial = answer.status === 206;
    const isCoded = (answer.header("content-encoding") ?? "identity") !== "identity";
    return {
      url: this.#uri,
      size: total === undefined || isCoded ? undefined : Number(total),
      etag: answer.header("etag"),
      changed: answer.header("last-modified"),
      hasRanges: isPartial,
      checksum: checksumIn(answer, isPartial),
      name: nameIn(answer),
    };
  }

  async #read(seen: Seen, range: ByteRange | undefined): Promise<Content> {
    const strong = seen.etag !== undefined && !seen.etag.startsWith("W/") ? seen.etag : undefined;
    const condition =
      strong !== undefined
        ? { "if-match": strong }
        : seen.changed !== undefined
          ? { "if-unmodified-since": seen.changed }
          : {};
    const answer = await this.#client.send({
      url: this.#uri,
      headers: {
        "accept-encoding": "identity",
        ...(range === undefined ? {} : { range: `bytes=${range.from}-${range.to}` }),
        ...condition,
      },
      secrets: this.#secrets,
    });
    if (answer.status !== (range === undefined ? 200 : 206)) {
      if (answer.status !== 200 && answer.status !== 416) throw await this.#refusal(answer);
      answer.drop();
      // It had ranges of that many bytes when it was looked at.
      throw this.#changed();
    }
    const total = /\/(\d+)$/.exec(answer.header("content-range") ?? "")?.[1];
    const isOther =
      answer.header("etag") !== seen.etag ||
      answer.header("last-modified") !== seen.changed ||
      (total !== undefined && Number(total) !== seen.size);
    if (isOther) {
      answer.drop();
      throw this.#changed();
    }
    return { body: answer.body };
  }

  #changed(): DownloadError {
    return new DownloadError("ChangedDuringDownload", `${shown(this.#uri)} was replaced while it was read`);
  }

  #refusal(answer: StoreAnswer): Promise<DownloadError> {
    return refusal(answer, `reading ${shown(this.#uri)}`, {
      AccessDenied: "give headers for its host in a Secret of the ServiceAccount (https-host, headers)",
    });
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}

/** Checksums of the whole file (RFC 9530, RFC 3230, and what the large stores send); of a part only those that are of the whole. */
function checksumIn(answer: StoreAnswer, isPartial: boolean): Checksum | undefined {
  const digests = `${answer.header("repr-digest") ?? ""},${answer.header("digest") ?? ""}`;
  const sha256 = hexOfBase64(/sha-256=:?([A-Za-z0-9+/]{43}=)/i.exec(digests)?.[1] ?? "", 32);
  if (sha256 !== undefined) return { algorithm: "sha256", hex: sha256 };
  const md5 = hexOfBase64(/md5=([A-Za-z0-9+/]{22}==)/.exec(answer.header("x-goog-hash") ?? "")?.[1] ?? "", 16);
  if (md5 !== undefined) return { algorithm: "md5", hex: md5 };
  const whole = isPartial ? undefined : hexOfBase64(answer.header("content-md5") ?? "", 16);
  return whole === undefined ? undefined : { algorithm: "md5", hex: whole };
}

/** The name of a download, or one that says what is in it where the address does not. */
function nameIn(answer: StoreAnswer): string | undefined {
  const disposition = answer.header("content-disposition") ?? "";
  const named = /filename="?([^";]+)"?/i.exec(disposition)?.[1]?.trim().split(/[\\/]/).at(-1);
  return named === undefined || named === "" || named === "." || named === ".." ? undefined : named;
}
