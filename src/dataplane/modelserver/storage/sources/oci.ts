/** `oci://HOST/REPOSITORY[:TAG][@DIGEST]`: models in images (below `/models`) and in artifacts, by the registry protocol (OCI distribution 1.1). */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { asNumber, asObject, asObjects, asString, isObject, parseJson } from "../../../../kernel/schema/index.js";
import { DownloadError } from "../failures.js";
import { refusal, type StoreAnswer, StoreClient } from "../http-client.js";
import { checkName } from "../keys.js";
import { clientOf, entryOf, type StoreSettings, variable } from "../settings.js";
import type { Listing, RemoteFile, Source } from "../types.js";

const MANIFESTS = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
];
/** Where an image for model servers has its model. */
const IMAGE_FOLDER = "models";
const TITLE = "org.opencontainers.image.title";
const HINTS = {
  AccessDenied: "give the registry's credentials as an image pull secret",
  NotFound: "is the repository right, and the tag?",
} as const;

interface Reference {
  readonly uri: string;
  readonly registry: string;
  readonly repository: string;
  readonly tag: string;
}

/** Opens a model in a registry. */
export function openOci(uri: string, settings: StoreSettings): Source {
  const entry = settings.entry === undefined ? {} : entryOf(settings, "oci");
  return new OciSource(referenceOf(uri), settings, new StoreClient(clientOf(settings, entry)));
}

function referenceOf(uri: string): Reference {
  const match =
    /^oci(?:\+fetch)?:\/\/([^/]+)\/([a-z0-9._/-]+?)(?::([\w][\w.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$/.exec(uri);
  const [, registry, repository, tag = "latest", digest] = match ?? [];
  if (registry === undefined || repository === undefined)
    throw new DownloadError("InvalidSource", `${uri} is no image: write oci://HOST/REPOSITORY:TAG`);
  return { uri, registry, repository, tag: digest ?? tag };
}

class OciSource implements Source {
  readonly #reference: Reference;
  readonly #settings: StoreSettings;
  readonly #client: StoreClient;
  #authorization: string | undefined;

  constructor(reference: Reference, settings: StoreSettings, client: StoreClient) {
    this.#reference = reference;
    this.#settings = settings;
    this.#client = client;
  }

  async list(): Promise<Listing> {
    const { uri } = this.#reference;
    let manifest = await this.#manifest(this.#reference.tag);
    const listed = asObjects(manifest["manifests"]);
    if (listed.length > 0) {
      const chosen =
        listed.find(
          ({ platform }) => asObject(platform)["os"] === "linux" && asObject(platform)["architecture"] === "amd64",
        ) ?? listed[0];
      manifest = await this.#manifest(asString(chosen?.["digest"]));
    }
    const layers = asObjects(manifest["layers"]);
    if (layers.length === 0) throw new DownloadError("NotFound", `${uri} has no layers`);
    const titled = layers.filter((layer) => titleOf(layer) !== "");
    const isArtifact =
      titled.length > 0 && titled.every(({ mediaType }) => !/[.+](tar|gzip)\b/.test(asString(mediaType)));
    if (isArtifact) return { files: titled.map((layer) => this.#fileOf(layer, titleOf(layer))), layout: "files" };
    const isImage = /image\.(config|v1)|container\.image/.test(asString(asObject(manifest["config"])["mediaType"]));
    const files = layers.map((layer, index) => this.#fileOf(layer, `layer-${index}`));
    return { files, layout: "layers", ...(isImage ? { folder: IMAGE_FOLDER } : {}) };
  }

  async #manifest(reference: string): Promise<JsonObject> {
    const { uri, repository } = this.#reference;
    const answer = await this.#send(`${repository}/manifests/${reference}`, { accept: MANIFESTS.join(", ") });
    if (answer.status !== 200) throw await refusal(answer, `looking for ${uri}`, HINTS);
    const text = await answer.text();
    if (reference.startsWith("sha256:") && reference !== `sha256:${createHash("sha256").update(text).digest("hex")}`)
      throw new DownloadError("ChecksumMismatch", `${uri}: the registry's manifest is not that of ${reference}`);
    const manifest = parseJson(text);
    if (!isObject(manifest)) throw new DownloadError("InvalidSource", `${uri}: the registry's manifest cannot be read`);
    return manifest;
  }

  #fileOf(layer: JsonObject, name: string): RemoteFile {
    const { uri, registry, repository } = this.#reference;
    const digest = asString(layer["digest"]);
    const size = asNumber(layer["size"]);
    const hex = /^sha256:([0-9a-f]{64})$/.exec(digest)?.[1];
    if (hex === undefined || size === undefined)
      throw new DownloadError(
        "Unsupported",
        `${uri}: layer ${digest || "without a digest"} is not named by SHA-256 and size`,
      );
    checkName(name, uri);
    return {
      ...{ name, size, address: `oci://${registry}/${repository}@${digest}`, version: digest, hasRanges: true },
      checksum: { algorithm: "sha256", hex },
      read: async (range) => {
        const headers = range === undefined ? {} : { range: `bytes=${range.from}-${range.to}` };
        const answer = await this.#send(`${repository}/blobs/${digest}`, { ...headers, "accept-encoding": "identity" });
        if (answer.status !== 206 && answer.status !== 200)
          throw await refusal(answer, `reading layer ${digest} of ${uri}`, HINTS);
        // Ranges are optional in the protocol.
        const isPart = answer.status === 206 || range === undefined;
        return { body: isPart ? answer.body : sliceOf(answer, range.from, range.to) };
      },
    };
  }

  async #send(path: string, headers: Record<string, string>): Promise<StoreAnswer> {
    const { registry } = this.#reference;
    const url = `${schemeOf(registry)}://${hostOf(registry)}/v2/${path}`;
    const send = (): Promise<StoreAnswer> =>
      this.#client.send({
        url,
        headers,
        secrets: this.#authorization === undefined ? {} : { authorization: this.#authorization },
      });
    const answer = await send();
    if (answer.status !== 401) return answer;
    const challenge = answer.header("www-authenticate") ?? "";
    answer.drop();
    this.#authorization = await this.#answerTo(challenge);
    return send();
  }

  /** What the registry asks for (RFC 6750's challenge with a realm, or Basic). */
  async #answerTo(challenge: string): Promise<string> {
    const { registry, repository, uri } = this.#reference;
    const basic = await basicFor(registry, this.#settings);
    if (/^basic/i.test(challenge)) {
      if (basic !== undefined) return `Basic ${basic}`;
      throw new DownloadError("AccessDenied", `${uri}: the registry wants to know who asks; ${HINTS.AccessDenied}`);
    }
    const field = (name: string): string => new RegExp(`${name}="([^"]*)"`).exec(challenge)?.[1] ?? "";
    const realm = field("realm");
    if (!/^bearer/i.test(challenge) || !URL.canParse(realm))
      throw new DownloadError("AccessDenied", `${uri}: the registry refuses, and does not say what it wants`);
    const url = new URL(realm);
    if (field("service") !== "") url.searchParams.set("service", field("service"));
    url.searchParams.set("scope", field("scope") || `repository:${repository}:pull`);
    const answer = await this.#client.send({
      url: url.href,
      secrets: basic === undefined ? {} : { authorization: `Basic ${basic}` },
    });
    if (answer.status !== 200) throw await refusal(answer, `asking for a token to read ${uri}`, HINTS);
    const body = asObject(parseJson(await answer.text()));
    return `Bearer ${asString(body["token"]) || asString(body["access_token"])}`;
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}

const titleOf = (layer: JsonObject): string => asString(asObject(layer["annotations"])[TITLE]);

/** As container engines do: registries of this machine itself speak without encryption. */
const schemeOf = (registry: string): string =>
  /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/.test(registry) ? "http" : "https";

const hostOf = (registry: string): string => (registry === "docker.io" ? "registry-1.docker.io" : registry);

/** `user:password` in base64, from a Docker configuration (`DOCKER_CONFIG`: its folder or the file itself). */
async function basicFor(registry: string, { env }: StoreSettings): Promise<string | undefined> {
  const place = variable(env, "DOCKER_CONFIG");
  if (place === undefined) return undefined;
  const read = (path: string): Promise<string | undefined> => readFile(path, "utf8").catch(() => undefined);
  const text =
    (await read(place)) ?? (await read(`${place}/.dockerconfigjson`)) ?? (await read(`${place}/config.json`));
  const auths = asObject(asObject(parseJson(text ?? ""))["auths"]);
  for (const [name, value] of Object.entries(auths)) {
    const host = name.replace(/^https?:\/\//, "").split("/")[0];
    if (host !== registry && !(registry === "docker.io" && host === "index.docker.io")) continue;
    const { auth, username, password } = asObject(value);
    if (asString(auth) !== "") return asString(auth);
    return Buffer.from(`${asString(username)}:${asString(password)}`).toString("base64");
  }
  return undefined;
}

async function* sliceOf({ body }: StoreAnswer, from: number, to: number): AsyncIterable<Uint8Array> {
  let at = 0;
  for await (const chunk of body) {
    const [start, end] = [Math.max(0, from - at), Math.min(chunk.length, to + 1 - at)];
    if (end > start) yield chunk.subarray(start, end);
    at += chunk.length;
    if (at > to) return;
  }
}
