/** `models:/NAME@ALIAS` and `models:/NAME/VERSION`: versions of the model registry, by MLflow's REST API. */
import { readFile } from "node:fs/promises";
import { messageOf } from "../../../../kernel/errors/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { asNumber, asObject, asObjects, asString, parseJson } from "../../../../kernel/schema/index.js";
import { DownloadError } from "../failures.js";
import { refusal, type StoreAnswer, StoreClient } from "../http-client.js";
import { checkName, escapePath, MAX_OBJECTS, unescapePath } from "../keys.js";
import { clientOf, entryOf, type StoreSettings, variable } from "../settings.js";
import type { Listing, RemoteFile, Source } from "../types.js";

const HINTS = {
  AccessDenied:
    "give a token of the tracking server that may read registered models and artifacts (MLFLOW_TRACKING_TOKEN)",
} as const;
const PROXIED = /^mlflow-artifacts:(?:\/\/[^/]*)?\/+/;

/** What opens a model where the registry says that it lies, when it is in a store of its own. */
export type OpenElsewhere = (uri: string) => Promise<Source>;

/** Opens a version of a registered model. */
export async function openRegistry(uri: string, settings: StoreSettings, elsewhere: OpenElsewhere): Promise<Source> {
  const match = /^models:\/+([^/@]+)(?:@([^/@]+)|\/([^/@]+))$/.exec(uri);
  const [, name, alias, version] = match ?? [];
  if (name === undefined)
    throw new DownloadError(
      "InvalidSource",
      `${uri} is no version of a model: write models:/NAME/VERSION or models:/NAME@ALIAS`,
    );
  const entry = settings.entry === undefined ? {} : entryOf(settings, "mlflow", "models");
  const { env } = settings;
  const endpoint = asString(entry["tracking_uri"]) || variable(env, "MLFLOW_TRACKING_URI");
  if (endpoint === undefined || !/^https?:\/\//.test(endpoint))
    throw new DownloadError(
      "InvalidSource",
      `${uri}: where the registry is, is not said: give MLFLOW_TRACKING_URI; in a cluster a Secret of the pods' ServiceAccount says it, or the Secret storage-config in its entry "mlflow" (tracking_uri)`,
    );
  const caFile = variable(env, "MLFLOW_TRACKING_SERVER_CERT_PATH");
  const ca =
    caFile === undefined
      ? {}
      : {
          ca: await readFile(caFile, "utf8").catch((error: unknown) => {
            throw new DownloadError("InvalidSource", `MLFLOW_TRACKING_SERVER_CERT_PATH: ${messageOf(error)}`);
          }),
        };
  const secrets = secretsOf(entry, settings);
  const client = new StoreClient({ ...ca, ...clientOf(settings, entry) });
  const asked = { uri, name: unescapePath(name, uri), alias, version, elsewhere };
  return new RegistrySource(asked, { endpoint: endpoint.replace(/\/+$/, ""), client, secrets });
}

function secretsOf(entry: JsonObject, { env }: StoreSettings): Record<string, string> {
  const token = asString(entry["token"]) || variable(env, "MLFLOW_TRACKING_TOKEN");
  if (token !== undefined) return { authorization: `Bearer ${token}` };
  const user = variable(env, "MLFLOW_TRACKING_USERNAME");
  const password = variable(env, "MLFLOW_TRACKING_PASSWORD");
  return user === undefined || password === undefined
    ? {}
    : { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` };
}

interface Asked {
  readonly uri: string;
  readonly name: string;
  readonly alias: string | undefined;
  readonly version: string | undefined;
  readonly elsewhere: OpenElsewhere;
}

interface Server {
  readonly endpoint: string;
  readonly client: StoreClient;
  readonly secrets: Readonly<Record<string, string>>;
}

class RegistrySource implements Source {
  readonly #asked: Asked;
  readonly #server: Server;
  #other: Source | undefined;

  constructor(asked: Asked, server: Server) {
    this.#asked = asked;
    this.#server = server;
  }

  async list(): Promise<Listing> {
    const { uri, name, elsewhere } = this.#asked;
    const version = await this.#version();
    const found = await this.#json(`mlflow/model-versions/get-download-uri?${query({ name, version })}`);
    const location = asString(found["artifact_uri"]);
    if (PROXIED.test(location)) return this.#artifacts(location.replace(PROXIED, "").replace(/\/+$/, ""));
    if (!/^(s3|gs|https?|hf|oci):\/\//.test(location))
      throw new DownloadError(
        "Unsupported",
        `${uri}: version ${version} lies at ${location || "no place"}, which cannot be read from here`,
      );
    await this.#other?.close();
    this.#other = await elsewhere(location);
    return this.#other.list();
  }

  async #version(): Promise<string> {
    const { alias, version, name, uri } = this.#asked;
    if (version !== undefined && /^\d+$/.test(version)) return version;
    if (alias === undefined)
      throw new DownloadError(
        "InvalidSource",
        `${uri}: ${version ?? ""} is no number of a version; stages are not offered, use an alias (models:/${name}@ALIAS)`,
      );
    const found = await this.#json(`mlflow/registered-models/alias?${query({ name, alias })}`);
    const number = asString(asObject(found["model_version"])["version"]);
    if (number === "") throw new DownloadError("NotFound", `${uri}: the registry names no version for it`);
    return number;
  }

  async #artifacts(root: string): Promise<Listing> {
    const files: RemoteFile[] = [];
    const folders = [root];
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      const listed = await this.#json(`mlflow-artifacts/artifacts?${query({ path: folder })}`);
      for (const item of asObjects(listed["files"])) {
        const [path, at] = [asString(item["path"]), folder];
        // Paths are names within the folder that was asked for, with some servers the folder before them.
        const whole = path.startsWith(`${at}/`) ? path : `${at}/${path}`;
        if (item["is_dir"] === true) folders.push(whole);
        else
          files.push(
            this.#fileOf(
              whole,
              whole.slice(root.length + 1),
              asNumber(item["file_size"]) ?? Number(asString(item["file_size"]) || Number.NaN),
            ),
          );
        if (files.length + folders.length > MAX_OBJECTS)
          throw new DownloadError("Unsupported", `${this.#asked.uri} holds more than ${MAX_OBJECTS} files`);
      }
    }
    if (files.length === 0) throw new DownloadError("NotFound", `${this.#asked.uri} holds no files`);
    return { files, layout: "files" };
  }

  #fileOf(path: string, name: string, size: number): RemoteFile {
    checkName(name, this.#asked.uri);
    const address = `${this.#asked.uri}: ${name}`;
    const isKnown = Number.isSafeInteger(size) && size >= 0;
    return {
      ...{ name, address, hasRanges: false },
      ...(isKnown ? { size } : {}),
      read: async () => {
        const answer = await this.#send(`mlflow-artifacts/artifacts/${escapePath(path)}`);
        if (answer.status !== 200) throw await refusal(answer, `reading ${address}`, HINTS);
        return { body: answer.body };
      },
    };
  }

  #send(path: string): Promise<StoreAnswer> {
    const { client, endpoint, secrets } = this.#server;
    return client.send({ url: `${endpoint}/api/2.0/${path}`, headers: { "accept-encoding": "identity" }, secrets });
  }

  async #json(path: string): Promise<JsonObject> {
    const { uri } = this.#asked;
    const answer = await this.#send(path);
    if (answer.status === 400) {
      // Registries say of what does not exist that it is a wrong parameter.
      const refused = await refusal(answer, `looking for ${uri}`);
      throw new DownloadError("NotFound", refused.message.replace(/^\w+: /, ""));
    }
    if (answer.status !== 200) throw await refusal(answer, `looking for ${uri} at ${this.#server.endpoint}`, HINTS);
    return asObject(parseJson(await answer.text()));
  }

  async close(): Promise<void> {
    await this.#other?.close();
    await this.#server.client.close();
  }
}

const query = (fields: Record<string, string>): string => new URLSearchParams(fields).toString();
