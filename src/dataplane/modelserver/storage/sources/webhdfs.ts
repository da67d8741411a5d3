/** `webhdfs://HOST:PORT/PATH`: Hadoop's file system, by its REST API. */

import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { asNumber, asObject, asObjects, asString, parseJson } from "../../../../kernel/schema/index.js";
import { DownloadError } from "../failures.js";
import { refusal, type StoreAnswer, StoreClient } from "../http-client.js";
import { checkName, escapePath, MAX_OBJECTS } from "../keys.js";
import { clientOf, entryOf, type StoreSettings, variable } from "../settings.js";
import type { Listing, RemoteFile, Source } from "../types.js";

const HINTS = { AccessDenied: "HDFS_USER says as whom it is read; Kerberos is not offered" } as const;

/** Opens a folder or file; `HDFS_NAMENODE` names the server (then all of the URI is a path), `HDFS_USER` who asks. */
export function openWebHdfs(uri: string, settings: StoreSettings): Source {
  const entry = settings.entry === undefined ? {} : entryOf(settings, "webhdfs");
  const named = asString(entry["HDFS_NAMENODE"]) || variable(settings.env, "HDFS_NAMENODE");
  const rest = uri.slice("webhdfs://".length);
  const at = rest.indexOf("/");
  if (named === undefined && at <= 0)
    throw new DownloadError("InvalidSource", `${uri} is no path: write webhdfs://HOST:PORT/PATH`);
  return new WebHdfsSource({
    uri,
    endpoint: (named ?? `http://${rest.slice(0, at)}`).replace(/\/+$/, ""),
    root: `/${(named === undefined ? rest.slice(at + 1) : rest).replace(/^\/+|\/+$/g, "")}`,
    user:
      asString(entry["HDFS_USER"]) ||
      asString(entry["USER_PROXY"]) ||
      variable(settings.env, "HDFS_USER", "USER_PROXY"),
    client: new StoreClient(clientOf(settings, entry)),
  });
}

interface Place {
  readonly uri: string;
  readonly endpoint: string;
  readonly root: string;
  readonly user: string | undefined;
  readonly client: StoreClient;
}

class WebHdfsSource implements Source {
  readonly #place: Place;

  constructor(place: Place) {
    this.#place = place;
  }

  async list(): Promise<Listing> {
    const { root, uri } = this.#place;
    const files: RemoteFile[] = [];
    const folders = [root];
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      const statuses = asObject((await this.#json(folder, "LISTSTATUS"))["FileStatuses"]);
      for (const status of asObjects(statuses["FileStatus"])) {
        // A file that is listed itself has no name.
        const suffix = asString(status["pathSuffix"]);
        const path = suffix === "" ? folder : `${folder === "/" ? "" : folder}/${suffix}`;
        if (status["type"] === "DIRECTORY") folders.push(path);
        else files.push(this.#fileOf(path, status));
        if (files.length + folders.length > MAX_OBJECTS)
          throw new DownloadError("Unsupported", `${uri} holds more than ${MAX_OBJECTS} files`);
      }
    }
    if (files.length === 0) throw new DownloadError("NotFound", `${uri} holds no files`);
    return { files, layout: "files" };
  }

  #fileOf(path: string, status: JsonObject): RemoteFile {
    const { root, uri } = this.#place;
    const name = path === root ? (root.split("/").at(-1) ?? "") : path.slice(root === "/" ? 1 : root.length + 1);
    checkName(name, uri);
    const [size, changed] = [asNumber(status["length"]), asNumber(status["modificationTime"])];
    if (size === undefined || changed === undefined)
      throw new DownloadError("InvalidSource", `${uri}: the server's listing cannot be read`);
    return {
      ...{ name, address: `webhdfs:/${path}`, size, version: String(changed), hasRanges: true },
      read: async (range) => {
        // The server has no conditions; it tells when a file was changed.
        const now = asObject((await this.#json(path, "GETFILESTATUS"))["FileStatus"]);
        if (now["modificationTime"] !== changed || now["length"] !== size)
          throw new DownloadError("ChangedDuringDownload", `${uri}: ${name} was replaced while it was read`);
        const fields =
          range === undefined ? {} : { offset: String(range.from), length: String(range.to + 1 - range.from) };
        const answer = await this.#send(path, "OPEN", fields);
        if (answer.status !== 200) throw await refusal(answer, `reading ${uri}: ${name}`, HINTS);
        return { body: answer.body };
      },
    };
  }

  async #json(path: string, operation: string): Promise<JsonObject> {
    const answer = await this.#send(path, operation, {});
    if (answer.status !== 200) throw await refusal(answer, `looking for ${this.#place.uri}`, HINTS);
    return asObject(parseJson(await answer.text()));
  }

  #send(path: string, op: string, fields: Readonly<Record<string, string>>): Promise<StoreAnswer> {
    const { endpoint, user, client } = this.#place;
    const query = new URLSearchParams({ op, ...fields, ...(user === undefined ? {} : { "user.name": user }) });
    return client.send({ url: `${endpoint}/webhdfs/v1${escapePath(path)}?${query.toString()}` });
  }

  close(): Promise<void> {
    return this.#place.client.close();
  }
}
