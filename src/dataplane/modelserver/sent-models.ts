/** Models whose configuration or files came with the request to load them (Triton's load parameters). */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { HttpError } from "../../kernel/http1/index.js";
import type { Json, JsonObject } from "../../kernel/kinds/object.js";
import { decodeBase64 } from "./base64.js";

/** What a request to load says beside the name: text, or bytes as they are or in base64. */
export type LoadParameters = Readonly<Record<string, string | Uint8Array | number | bigint | boolean>>;

/** What is loaded instead of what lies in the repository. */
export interface SentModel {
  readonly config: JsonObject | undefined;
  /** A folder as in the repository. */
  readonly folder: string | undefined;
}

const MAX_FILES = 256;
/** `<version>/<name>`, perhaps in folders; nothing that leads elsewhere. */
const PLACE = /^[1-9]\d{0,17}(?:\/(?!\.{1,2}(?:\/|$))[\w.+-]{1,255}){1,8}$/;

/** Keeps files that were sent for as long as their model is loaded. */
export class SentModels {
  readonly #folders = new Map<string, string>();

  /** Reads the parameters; files are written to a folder of their own. Throws 400. */
  async open(parameters: LoadParameters): Promise<SentModel> {
    const config = readConfig(parameters["config"]);
    const files = Object.entries(parameters).filter(([key]) => key.startsWith("file:"));
    for (const key of Object.keys(parameters))
      if (key !== "config" && !key.startsWith("file:"))
        throw new HttpError(
          400,
          `parameter ${JSON.stringify(key.slice(0, 60))} is not known; config and file:VERSION/NAME are`,
        );
    if (files.length === 0) return { config, folder: undefined };
    if (config === undefined) throw new HttpError(400, "files are sent together with parameter config");
    if (files.length > MAX_FILES) throw new HttpError(400, `more than ${MAX_FILES} files are sent`);
    const contents = files.map(([key, value]) => [placeOf(key), contentOf(key, value)] as const);
    const folder = await mkdtemp(join(tmpdir(), "argosy-sent-"));
    for (const [place, content] of contents) {
      await mkdir(dirname(join(folder, place)), { recursive: true });
      await writeFile(join(folder, place), content);
    }
    return { config, folder };
  }

  /** The model was loaded from there: what it was loaded from before is not needed any more. */
  async keep(name: string, { folder }: SentModel): Promise<void> {
    await this.forget(name);
    if (folder !== undefined) this.#folders.set(name, folder);
  }

  /** The model is not loaded any more. */
  async forget(name: string): Promise<void> {
    const folder = this.#folders.get(name);
    this.#folders.delete(name);
    if (folder !== undefined) await this.discard(folder);
  }

  async discard(folder: string | undefined): Promise<void> {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#folders.keys()].map((name) => this.forget(name)));
  }
}

function readConfig(value: LoadParameters[string] | undefined): JsonObject | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string") throw new HttpError(400, "parameter config must be JSON as text");
  let config: Json;
  try {
    config = JSON.parse(value);
  } catch {
    throw new HttpError(400, "parameter config is not JSON");
  }
  if (typeof config !== "object" || config === null || Array.isArray(config))
    throw new HttpError(400, "parameter config must be an object as JSON text");
  return config;
}

function placeOf(key: string): string {
  const place = key.slice("file:".length);
  if (!PLACE.test(place))
    throw new HttpError(400, `parameter ${JSON.stringify(key.slice(0, 80))} must be file:VERSION/NAME`);
  return place;
}

function contentOf(key: string, value: LoadParameters[string]): Uint8Array {
  if (value instanceof Uint8Array) return value;
  const content = typeof value === "string" ? decodeBase64(value) : undefined;
  if (content === undefined) throw new HttpError(400, `parameter ${JSON.stringify(key.slice(0, 80))} must be base64`);
  return content;
}
