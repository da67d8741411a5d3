import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { apiVersionOf } from "../../../kernel/kinds/object.js";
import { preferredType } from "../request/negotiate.js";
import type { ApiRequest, ApiResponse, ResourceType } from "../types.js";
import { bytesAnswer, hashOf, jsonAnswer, pageNotFound } from "./answers.js";
import { documentFor } from "./openapi-document.js";
import { swaggerProtobuf } from "./openapi-protobuf.js";
import { swaggerDocument } from "./openapi-v2.js";
import { servedVersion } from "./version.js";

/** As Go clients name it, with the sign that no media type may have, and as it is answered. */
const askedProtobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const protobuf = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const json = "application/json";

interface Document {
  readonly bytes: Uint8Array;
  readonly hash: string;
}

/** The OpenAPI documents: made when first asked for, kept until a definition changes. */
export class OpenApi {
  readonly #documents = new Map<string, Document>();
  #swagger: Document | undefined;
  #swaggerProtobuf: Document | undefined;
  #revision = 0;

  /** Answers /openapi/v2 and /openapi/v3 with everything below; `undefined` for other paths. */
  answer(request: ApiRequest, types: readonly ResourceType[], revision: number): ApiResponse | undefined {
    if (!request.path.startsWith("/openapi/")) return undefined;
    if (revision !== this.#revision) {
      this.#revision = revision;
      this.#documents.clear();
      this.#swagger = undefined;
      this.#swaggerProtobuf = undefined;
    }
    const { path } = request;
    if (path === "/openapi/v3") return this.#index(types);
    if (path === "/openapi/v2") return this.#swaggerAnswer(request, types);
    if (!path.startsWith("/openapi/v3/")) return pageNotFound();
    const document = this.#document(path.slice("/openapi/v3/".length), types);
    if (document === undefined) return { status: 404, headers: { "content-length": "0" }, body: new Uint8Array() };
    return preferredType(request.headers.accept, [json]) === undefined
      ? notAcceptable()
      : answerWith(request, document, json);
  }

  #swaggerAnswer(request: ApiRequest, types: readonly ResourceType[]): ApiResponse {
    const type = preferredType(request.headers.accept, [json, askedProtobuf, protobuf]);
    if (type === undefined) return notAcceptable();
    if (type === json) {
      this.#swagger ??= encode(swaggerDocument(types, servedVersion));
      return answerWith(request, this.#swagger, json);
    }
    this.#swaggerProtobuf ??= documentOf(swaggerProtobuf(swaggerDocument(types, servedVersion)));
    return answerWith(request, this.#swaggerProtobuf, protobuf);
  }

  #index(types: readonly ResourceType[]): ApiResponse {
    const paths: Record<string, Json> = {};
    for (const path of new Set(types.map(pathOf))) {
      const document = this.#document(path, types);
      if (document !== undefined) paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${document.hash}` };
    }
    // The type that a real server sends.
    return jsonAnswer({ paths }, { type: "text/plain; charset=utf-8" });
  }

  #document(path: string, types: readonly ResourceType[]): Document | undefined {
    const known = this.#documents.get(path);
    if (known !== undefined) return known;
    const own = types.filter((type) => pathOf(type) === path);
    if (own.length === 0) return undefined;
    const document = encode(documentFor(own, servedVersion));
    this.#documents.set(path, document);
    return document;
  }
}

function pathOf(type: ResourceType): string {
  return type.group === "" ? `api/${type.version}` : `apis/${apiVersionOf(type)}`;
}

function encode(document: JsonObject): Document {
  return documentOf(new TextEncoder().encode(JSON.stringify(document)));
}

function documentOf(bytes: Uint8Array): Document {
  return { bytes, hash: hashOf(bytes) };
}

function notAcceptable(): ApiResponse {
  return { status: 406, headers: { vary: "Accept", "content-length": "0" }, body: new Uint8Array() };
}

function answerWith(request: ApiRequest, document: Document, type: string): ApiResponse {
  const etag = `"${document.hash}"`;
  const headers = {
    etag,
    vary: "Accept",
    "cache-control": request.query.has("hash") ? "public, immutable" : "no-cache, private",
  };
  if (request.headers["if-none-match"] === etag) return { status: 304, headers, body: new Uint8Array() };
  return bytesAnswer(document.bytes, { headers, type });
}
