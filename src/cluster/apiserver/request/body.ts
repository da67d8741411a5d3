import { load } from "js-yaml";
import { messageOf } from "../../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { badRequest, tooLarge, unknownBodyFormat } from "../failures.js";
import { isObject } from "../fields.js";
import { decodeProtobuf } from "../protobuf/decode.js";
import type { ApiRequest } from "../types.js";
import { isExcessive } from "./aliases.js";
import { copyContent } from "./content.js";
import { tooDeepAt } from "./depth.js";
import { duplicateFields } from "./duplicates.js";
import { goSyntaxFault } from "./go-json.js";

const protobufType = "application/vnd.kubernetes.protobuf";
const accepted = ["application/json", "application/yaml", protobufType];

/** Bodies above this are refused with 413 (upstream's limit for resources). */
export const maxBodyBytes = 3 * 1024 * 1024;

/** A body as read: the value, and the fields that it gives more than once. */
export interface ParsedBody {
  readonly value: JsonObject;
  readonly duplicates: readonly string[];
}

/** The media type of a body without its parameters; JSON where none is given. */
export function mediaTypeOf(contentType: string | undefined): string {
  const type = (contentType ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
  return type === "" ? "application/json" : type;
}

/** Reads a JSON or YAML body that must hold one object of `kind`. Throws 400 or 415. */
export function parseBody(body: Uint8Array, contentType: string | undefined, kind: string): ParsedBody {
  const type = mediaTypeOf(contentType);
  if (type === protobufType) return { value: parseProtobuf(body, kind), duplicates: [] };
  if (type !== "application/json" && type !== "application/yaml") throw unknownBodyFormat(accepted);
  const text = textOf(body);
  const value = type === "application/yaml" ? parseYaml(text) : parseJson(text, kind);
  if (!isObject(value)) {
    const found = Array.isArray(value) ? "array" : typeof value;
    throw unrecognized(kind, `json: cannot unmarshal ${found} into Go value of type struct`);
  }
  return { value, duplicates: type === "application/yaml" ? [] : duplicateFields(text, value) };
}

/** What a client in this process sends, as a copy: read without looking for faults, and without the members in `omitted`. Throws 413. */
export function ownBody({ content }: Pick<ApiRequest, "content">, omitted: readonly string[] = []): Json | undefined {
  if (content === undefined) return undefined;
  const { value, mostBytes } = copyContent(content, omitted);
  if (mostBytes > maxBodyBytes && Buffer.byteLength(JSON.stringify(content)) > maxBodyBytes)
    throw tooLarge(maxBodyBytes);
  return value;
}

/** Body bytes as text without copying them first. */
export function textOf(body: Uint8Array): string {
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8");
}

function parseProtobuf(body: Uint8Array, kind: string): JsonObject {
  try {
    return decodeProtobuf(body);
  } catch (error) {
    throw badRequest(`the object provided is unrecognized (must be of type ${kind}): ${messageOf(error)}`);
  }
}

function unrecognized(kind: string, why: string): Error {
  return badRequest(
    `the object provided is unrecognized (must be of type ${kind}): couldn't get version/kind; json parse error: ${why}`,
  );
}

function parseJson(text: string, kind: string): Json {
  const bracket = tooDeepAt(text);
  if (bracket !== undefined)
    throw unrecognized(kind, `invalid character '${bracket}' exceeded max depth (${text.slice(0, 32)} ...)`);
  try {
    const value: Json = JSON.parse(text);
    return value;
  } catch (error) {
    throw unrecognized(kind, `${describeSyntax(text, error)} (${text === "" ? "<empty>" : excerpt(text)})`);
  }
}

const excerptLength = 30;

function excerpt(text: string): string {
  return text.length <= excerptLength ? text : `${text.slice(0, excerptLength)} ...`;
}

function describeSyntax(text: string, error: unknown): string {
  return goSyntaxFault(text) ?? messageOf(error);
}

function parseYaml(text: string): unknown {
  // Nothing at all is an object with nothing in it.
  if (/^(\s*(#.*)?(\n|$))*$/.test(text)) return {};
  let value: unknown;
  try {
    value = load(text);
  } catch (error) {
    throw badRequest(`error converting YAML to JSON: ${messageOf(error)}`);
  }
  if (text.includes("*") && isExcessive(value))
    throw badRequest("error converting YAML to JSON: yaml: document contains excessive aliasing");
  return value;
}

/** Reads a patch. Throws 400. */
export function parsePatch(body: Uint8Array): Json {
  const text = textOf(body);
  const bracket = tooDeepAt(text);
  if (bracket !== undefined)
    throw badRequest(`error decoding patch: invalid character '${bracket}' exceeded max depth`);
  try {
    const value: Json = JSON.parse(text);
    return value;
  } catch (error) {
    throw badRequest(`error decoding patch: ${describeSyntax(text, error)}`);
  }
}

/** Reads JSON or YAML of any kind of value (apply patches come as YAML). Throws 400. */
export function parseAny(body: Uint8Array): unknown {
  const text = textOf(body);
  // Most appliers send JSON, which is YAML too but read far faster as what it is.
  if (text.startsWith("{")) {
    if (tooDeepAt(text) !== undefined) throw badRequest("error decoding YAML: exceeded max depth");
    try {
      return JSON.parse(text);
    } catch {
      // Flow-style YAML, perhaps.
    }
  }
  return parseYaml(text);
}

/** The same request with a JSON body where it came as protobuf, for handlers that read it themselves. Throws 400. */
export function withJsonBody(request: ApiRequest): ApiRequest {
  if (mediaTypeOf(request.headers["content-type"]) !== protobufType || request.body.byteLength === 0) return request;
  const { value } = parseBody(request.body, protobufType, "object");
  return {
    ...request,
    headers: { ...request.headers, "content-type": "application/json" },
    body: Buffer.from(JSON.stringify(value), "utf8"),
  };
}
