import { pipeline } from "node:stream";
import { createGzip, gzip } from "node:zlib";
import { ApiError, messageOf } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Logger } from "../../../kernel/log/index.js";
import { badRequest, failure, internalError, PlainFailure, unexplained } from "../failures.js";
import { formOf, partialMetadata, tableOf } from "../render/forms.js";
import { givesObjects, sharedObject } from "../render/shared.js";
import { type Accepted, failureFormat, toYaml } from "../request/negotiate.js";
import { encodeJson } from "../store/index.js";
import type { ApiRequest, ApiResponse } from "../types.js";
import type { Call, Machinery, Outcome } from "../verbs/context.js";

const json = "application/json";
const plainJson: Accepted = { format: "json" };
const cacheControl = "no-cache, private";
/** Smaller answers are not worth the time (upstream's bound). */
const minGzipBytes = 128 * 1024;

const jsonHeaders = { "content-type": json, "cache-control": cacheControl };

/** Any JSON value as an answer. */
export function jsonResponse(status: number, value: JsonObject, accepted: Accepted = plainJson): ApiResponse {
  return bytesResponse(status, encodeJson(value), accepted);
}

/** Encoded JSON as an answer in the format that was asked for. */
export function bytesResponse(status: number, bytes: Uint8Array, accepted: Accepted): ApiResponse {
  if (accepted.format === "json") return { status, headers: jsonHeaders, body: bytes };
  return {
    status,
    headers: { "content-type": "application/yaml", "cache-control": cacheControl },
    body: toYaml(bytes),
  };
}

/** A list as an answer in the format that was asked for; one that comes in pieces is compressed as it goes. */
export async function listResponse(call: Call, body: Uint8Array | AsyncIterable<Uint8Array>): Promise<ApiResponse> {
  if (body instanceof Uint8Array) return bytesResponse(200, body, call.accepted);
  if (call.accepted.format !== "json") return bytesResponse(200, await gathered(body), call.accepted);
  if (!takesGzip(call.request)) return { status: 200, headers: jsonHeaders, body };
  return {
    status: 200,
    headers: { ...jsonHeaders, "content-encoding": "gzip", vary: "Accept-Encoding" },
    // A failure ends the answer: whoever reads it notices.
    body: pipeline(body, createGzip({ level: 1 }), () => undefined),
  };
}

async function gathered(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** An answer that is handed over in this process as it is. */
export function objectResponse(status: number, object: JsonObject): ApiResponse {
  return { status, headers: jsonHeaders, body: nothing, object };
}

const nothing = new Uint8Array();

/** A plain text answer. */
export function textResponse(status: number, text: string): ApiResponse {
  return { status, headers: { "content-type": "text/plain; charset=utf-8" }, body: Buffer.from(text) };
}

/** The answer of a verb on one object, in the form that was asked for. */
export function outcomeResponse(machinery: Machinery, call: Call, outcome: Outcome): ApiResponse {
  const { accepted } = call;
  const isStatus = outcome.value["kind"] === "Status" && outcome.value["apiVersion"] === "v1";
  const form = formOf(accepted, call.request.query);
  if (outcome.stored !== undefined && givesObjects(call, form))
    return objectResponse(outcome.status, sharedObject(outcome.stored));
  if (form.kind === "Object" || isStatus) {
    const bytes = outcome.stored === undefined ? encodeJson(outcome.value) : outcome.stored.bytes;
    return bytesResponse(outcome.status, bytes, accepted);
  }
  if (form.kind === "PartialObjectMetadata") {
    if (accepted.as?.kind === "PartialObjectMetadataList") {
      if (call.type.custom) throw unexplained("content is not a list");
      const what = `the requested object is not a list (*${internalName(call.type)})`;
      throw failure(406, "NotAcceptable", `you requested PartialObjectMetadataList, but ${what}`);
    }
    return jsonResponse(outcome.status, partialMetadata(outcome.value, form.version), accepted);
  }
  const metadata = outcome.value["metadata"];
  const version =
    typeof metadata === "object" && metadata !== null && !Array.isArray(metadata) ? metadata["resourceVersion"] : "";
  const about = { now: machinery.clock.now(), metadata: { resourceVersion: version ?? "" }, withColumns: true };
  return jsonResponse(outcome.status, tableOf(call.type, [outcome.value], form, about), accepted);
}

/** As upstream calls the struct of a kind. */
function internalName({ group, kind, goName }: Call["type"]): string {
  return goName ?? `${group.split(".")[0] || "core"}.${kind}`;
}

/** Whatever was thrown, as a Status. What is no `ApiError` is a fault of the server's own and is logged. */
export function failureResponse(error: unknown, log: Logger, request: ApiRequest): ApiResponse {
  if (error instanceof PlainFailure) return textResponse(error.httpCode, error.text);
  const known = asApiError(error);
  if (!(error instanceof ApiError) && known.httpCode >= 500) {
    log.error("request failed", { method: request.method, path: request.path, err: error });
  }
  const retry = known.status.details?.retryAfterSeconds;
  const status = {
    ...known.status,
    reason: known.status.reason === "" ? undefined : known.status.reason,
    details: detailsOf(known),
  };
  const response = jsonResponse(known.httpCode, status, { format: failureFormat(request.headers["accept"]) });
  return retry === undefined
    ? response
    : { ...response, headers: { ...response.headers, "retry-after": String(retry) } };
}

function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  // Only what a client sent can be so deep: every walk over objects recurses as deep as they are.
  if (error instanceof RangeError && /call stack/.test(error.message))
    return badRequest("the body is nested too deeply");
  return internalError(messageOf(error), error);
}

/** A plain copy: JSON types know no interfaces. */
function detailsOf({ status: { details } }: ApiError): JsonObject | undefined {
  if (details === undefined) return undefined;
  const { causes, ...rest } = details;
  if (causes === undefined) return rest;
  return {
    ...rest,
    causes: causes.map(({ reason, message, field }) => ({
      ...(reason === "" ? {} : { reason }),
      message,
      ...(field === "" ? {} : { field }),
    })),
  };
}

function takesGzip(request: ApiRequest): boolean {
  return /\bgzip\b/.test(request.headers["accept-encoding"] ?? "");
}

/** Compresses a large answer for a client that takes gzip. */
export async function compressed(request: ApiRequest, response: ApiResponse): Promise<ApiResponse> {
  const { body } = response;
  if (!(body instanceof Uint8Array) || body.byteLength < minGzipBytes) return response;
  if (!takesGzip(request)) return response;
  const small = await new Promise<Uint8Array>((resolve, reject) =>
    gzip(body, { level: 1 }, (error, result) => (error === null ? resolve(result) : reject(error))),
  );
  return {
    ...response,
    headers: { ...response.headers, "content-encoding": "gzip", vary: "Accept-Encoding" },
    body: small,
  };
}
