import type { Transport } from "../../kernel/client/index.js";
import type { Json } from "../../kernel/kinds/index.js";
import { parseApiVersion } from "../../kernel/kinds/index.js";
import { didYouMean, isObject, readDefinitions, type Schema } from "../../kernel/schema/index.js";

/** What an API says of a kind: its schema, or that it has none, with the kind that was probably meant. */
export type KnownKind = { readonly schema: Schema } | { readonly near: string | undefined };

interface Group {
  readonly etag: string;
  readonly kinds: ReadonlyMap<string, Schema>;
}

/** The schemas that an API publishes (OpenAPI v3), by group and version; read once and again when they changed. */
export class KindSchemas {
  readonly #groups = new Map<string, Group>();

  /** Throws what the transport throws. */
  async find(transport: Transport, apiVersion: string, kind: string): Promise<KnownKind> {
    const kinds = await this.#kindsOf(transport, apiVersion);
    const schema = kinds.get(kind);
    return schema === undefined ? { near: didYouMean(kind, kinds.keys()) } : { schema };
  }

  async #kindsOf(transport: Transport, apiVersion: string): Promise<ReadonlyMap<string, Schema>> {
    const known = this.#groups.get(apiVersion);
    const answer = await transport.request({
      method: "GET",
      path: `/openapi/v3/${apiVersion.includes("/") ? "apis" : "api"}/${apiVersion}`,
      headers: { accept: "application/json", ...(known === undefined ? {} : { "if-none-match": known.etag }) },
    });
    const pieces: Uint8Array[] = [];
    for await (const piece of answer.body) pieces.push(piece);
    if (answer.status === 304 && known !== undefined) return known.kinds;
    if (answer.status !== 200) return new Map();
    const document: Json = JSON.parse(Buffer.concat(pieces).toString("utf8"));
    const kinds = kindsIn(readDefinitions(document), apiVersion);
    this.#groups.set(apiVersion, { etag: answer.headers["etag"] ?? "", kinds });
    return kinds;
  }
}

function kindsIn(definitions: ReadonlyMap<string, Schema>, apiVersion: string): ReadonlyMap<string, Schema> {
  const { group, version } = parseApiVersion(apiVersion);
  const kinds = new Map<string, Schema>();
  for (const definition of definitions.values()) {
    const names = definition["x-kubernetes-group-version-kind"];
    for (const name of Array.isArray(names) ? names : []) {
      const isOne = isObject(name) && name["group"] === group && name["version"] === version;
      if (isOne && typeof name["kind"] === "string" && isObjectKind(definition)) kinds.set(name["kind"], definition);
    }
  }
  return kinds;
}

/** Options of requests (`DeleteOptions`) and lists are marked with groups too, but are no objects to deliver. */
function isObjectKind({ properties = {} }: Schema): boolean {
  return Object.hasOwn(properties, "metadata") && !Object.hasOwn(properties, "items");
}
