/** `hf://ORGANIZATION/MODEL[:REVISION]`: a snapshot of a repository of a Hugging Face hub. */
import type { Json, JsonObject } from "../../../../kernel/kinds/object.js";
import { asList, asNumber, asObject, asString, isObject, parseJson } from "../../../../kernel/schema/index.js";
import { DownloadError } from "../failures.js";
import { refusal, StoreClient } from "../http-client.js";
import { checkName, escapePath, MAX_OBJECTS } from "../keys.js";
import { clientOf, entryOf, type StoreSettings, variable } from "../settings.js";
import type { Checksum, Listing, RemoteFile, Source } from "../types.js";

const HINTS = {
  AccessDenied: "the model may be private, gated, or not exist: give a token that may read it (HF_TOKEN)",
  NotFound: "is the name right, and the revision?",
} as const;

/** Opens a model of a hub; `HF_ENDPOINT` names another one. */
export function openHuggingFace(uri: string, settings: StoreSettings): Source {
  const match = /^hf:\/\/([\w.-]+)\/([\w.-]+)(?::([^:]+))?$/.exec(uri.replace(/\/+$/, ""));
  if (match?.[1] === undefined || match[2] === undefined)
    throw new DownloadError(
      "InvalidSource",
      `${uri} is no model of a hub: write hf://ORGANIZATION/MODEL or hf://ORGANIZATION/MODEL:REVISION`,
    );
  const entry = settings.entry === undefined ? {} : entryOf(settings, "hf");
  const token = asString(entry["token"]) || variable(settings.env, "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN");
  const endpoint = asString(entry["endpoint"]) || variable(settings.env, "HF_ENDPOINT") || "https://huggingface.co";
  return new HubSource({
    uri,
    repository: `${match[1]}/${match[2]}`,
    revision: match[3] ?? "main",
    endpoint: endpoint.replace(/\/+$/, ""),
    client: new StoreClient(clientOf(settings, entry)),
    secrets: token === undefined ? {} : { authorization: `Bearer ${token}` },
  });
}

interface Place {
  readonly uri: string;
  readonly repository: string;
  readonly revision: string;
  readonly endpoint: string;
  readonly client: StoreClient;
  readonly secrets: Readonly<Record<string, string>>;
}

class HubSource implements Source {
  readonly #place: Place;

  constructor(place: Place) {
    this.#place = place;
  }

  async list(): Promise<Listing> {
    const { repository, revision, uri, endpoint } = this.#place;
    const about = await this.#json(`${endpoint}/api/models/${repository}/revision/${encodeURIComponent(revision)}`);
    const commit = asString(asObject(about.body)["sha"]);
    if (!/^[0-9a-f]{40,64}$/.test(commit))
      throw new DownloadError("InvalidSource", `${uri}: the hub names no commit for ${revision}`);
    const files: RemoteFile[] = [];
    const tree = `${endpoint}/api/models/${repository}/tree/${commit}?recursive=true`;
    for (let url: string | undefined = tree; url !== undefined; ) {
      const page = await this.#json(url);
      for (const item of asList(page.body))
        if (isObject(item) && item["type"] === "file") files.push(this.#fileOf(item, commit));
      if (files.length > MAX_OBJECTS)
        throw new DownloadError("Unsupported", `${uri} holds more than ${MAX_OBJECTS} files`);
      url = page.next;
    }
    if (files.length === 0) throw new DownloadError("NotFound", `${uri} holds no files`);
    return { files: files.filter(({ name }) => name !== ".gitattributes"), layout: "files" };
  }

  async #json(url: string): Promise<{ readonly body: Json | undefined; readonly next: string | undefined }> {
    const { client, secrets, uri, endpoint } = this.#place;
    const answer = await client.send({ url, secrets });
    if (answer.status !== 200) throw await refusal(answer, `looking for ${uri} at ${endpoint}`, HINTS);
    const next = /<([^>]+)>;\s*rel="next"/.exec(answer.header("link") ?? "")?.[1];
    // A page of another server's would not be this model's.
    const isOwn = next !== undefined && new URL(next, url).origin === new URL(url).origin;
    return { body: parseJson(await answer.text()), next: isOwn ? new URL(next, url).href : undefined };
  }

  #fileOf(item: JsonObject, commit: string): RemoteFile {
    const { repository, endpoint, client, secrets, uri } = this.#place;
    const name = asString(item["path"]);
    checkName(name, uri);
    const lfs = asObject(item["lfs"]);
    const size = asNumber(lfs["size"]) ?? asNumber(item["size"]);
    const checksum = checksumOf(asString(lfs["oid"]), asString(item["oid"]));
    const address = `hf://${repository}/${name}`;
    return {
      ...{ name, address, version: `${commit} ${asString(item["oid"])}` },
      ...(size === undefined ? {} : { size }),
      ...(checksum === undefined ? {} : { checksum }),
      hasRanges: size !== undefined,
      read: async (range) => {
        const headers = range === undefined ? {} : { range: `bytes=${range.from}-${range.to}` };
        const url = `${endpoint}/${repository}/resolve/${commit}/${escapePath(name)}`;
        const answer = await client.send({ url, headers: { "accept-encoding": "identity", ...headers }, secrets });
        const isWhole = answer.status === 200 && (range === undefined || (range.from === 0 && range.to + 1 === size));
        if (answer.status !== 206 && !isWhole) throw await refusal(answer, `reading ${address}`, HINTS);
        return { body: answer.body };
      },
    };
  }

  close(): Promise<void> {
    return this.#place.client.close();
  }
}

/** Large files have their SHA-256, all others git's name for them. */
function checksumOf(lfs: string, oid: string): Checksum | undefined {
  const sha256 = lfs.replace(/^sha256:/, "");
  if (/^[0-9a-f]{64}$/.test(sha256)) return { algorithm: "sha256", hex: sha256 };
  return lfs === "" && /^[0-9a-f]{40}$/.test(oid) ? { algorithm: "git-blob", hex: oid } : undefined;
}
