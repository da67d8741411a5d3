import { posix } from "node:path";
import type { JsonObject } from "../../kernel/kinds/object.js";
import type { HttpRoute, RouteRequest, RouteResponse } from "../../kernel/module/types.js";
import { BlobError, type BlobRead, type BlobStore, parseRangeHeader } from "../../stores/blobs/index.js";
import { answer, jsonAnswer, type RouteSpec, route } from "./answers.js";
import { artifactKey, attachmentHeader, downloadType, keyUnder, shownPath } from "./artifact-paths.js";
import { type Endpoint, type TrackingContext, unlessEmpty } from "./context.js";
import { notFound, TrackingError } from "./errors.js";
import { loggedModelById } from "./logged-model-rows.js";
import { versionSource } from "./model-versions.js";
import { paramsOfQuery } from "./params.js";
import { runById, runIdOf } from "./run-rows.js";

/** Largest artifact that one request may carry; disks are the real bound. */
const MAX_ARTIFACT_BYTES = 1024 ** 4;
/** Most entries that one listing shows. */
const MAX_LISTED = 100_000;

/** `artifacts/list`. */
export function artifactListEndpoints({ tables, blobs }: TrackingContext): Endpoint[] {
  return [
    {
      method: "GET",
      path: "artifacts/list",
      verb: "list",
      resource: "artifacts",
      call: async (params) => {
        const run = await runById(tables.read, runIdOf(params));
        return listUnder(blobs, run.artifact_uri, params.text("path") ?? "");
      },
    },
  ];
}

/** A folder below an artifact URI, with paths relative to the URI. */
export async function listUnder(blobs: BlobStore, uri: string, path: string): Promise<JsonObject> {
  const key = keyUnder(uri, path);
  const base = artifactKey(path);
  const files = await listFolder(blobs, key, (name) => (base === "" ? name : `${base}/${name}`));
  return { root_uri: uri, ...unlessEmpty("files", files) };
}

/** The routes that carry artifacts' bytes. */
export function artifactRoutes(context: TrackingContext): HttpRoute[] {
  const { blobs, tables } = context;
  const proxy = (method: string, spec: Omit<RouteSpec, "method" | "path" | "resource">): HttpRoute[] =>
    ["/api", "/ajax-api"].map((prefix) =>
      route({ ...spec, method, path: `${prefix}/2.0/mlflow-artifacts/artifacts/*path`, resource: "artifacts" }),
    );
  const downloadRoute = (path: string, find: (request: RouteRequest) => Promise<string>): HttpRoute =>
    route({
      method: "GET",
      path,
      verb: "get",
      resource: "artifacts",
      handle: async (request) => sendBlob(blobs, await find(request), request),
    });
  return [
    ...proxy("GET", { verb: "get", handle: async (request) => sendBlob(blobs, pathOf(request), request) }),
    ...proxy("PUT", {
      verb: "create",
      maxBodyBytes: MAX_ARTIFACT_BYTES,
      handle: (request) => receiveBlob(blobs, pathOf(request), request),
    }),
    ...proxy("DELETE", { verb: "delete", handle: (request) => deleteTree(blobs, pathOf(request)) }),
    ...["/api", "/ajax-api"].map((prefix) =>
      route({
        method: "GET",
        path: `${prefix}/2.0/mlflow-artifacts/artifacts`,
        verb: "list",
        resource: "artifacts",
        handle: async ({ query }) =>
          jsonAnswer(
            200,
            unlessEmpty("files", await listFolder(blobs, artifactKey(query.get("path") ?? ""), (name) => name)),
          ),
      }),
    ),
    ...multipartRoutes(),
    downloadRoute("/get-artifact", async ({ query }) => {
      const params = paramsOfQuery(query);
      const path = params.requiredText("path");
      return keyUnder((await runById(tables.read, runIdOf(params))).artifact_uri, path);
    }),
    downloadRoute("/model-versions/get-artifact", async ({ query }) => {
      const params = paramsOfQuery(query);
      const [name, version, path] = [
        params.requiredText("name"),
        params.requiredText("version"),
        params.requiredText("path"),
      ];
      return keyUnder(await versionSource(tables.read, name, version), path);
    }),
    downloadRoute("/ajax-api/2.0/mlflow/logged-models/:model_id/artifacts/files", async ({ parameters, query }) => {
      const path = paramsOfQuery(query).requiredText("artifact_file_path");
      return keyUnder((await loggedModelById(tables.read, parameters["model_id"] ?? "")).artifact_uri, path);
    }),
  ];
}

/** Uploads in parts through the proxy are not offered (server-info says so); S3 clients use the S3 server for them. */
function multipartRoutes(): HttpRoute[] {
  const refuse = async (): Promise<RouteResponse> => {
    throw new TrackingError(
      "NOT_IMPLEMENTED",
      "Multipart uploads and presigned URLs are not supported by this server; send the artifact in one PUT.",
    );
  };
  const calls = [
    ["POST", "mpu/create"],
    ["POST", "mpu/complete"],
    ["POST", "mpu/abort"],
    ["GET", "presigned"],
  ] as const;
  return ["/api", "/ajax-api"].flatMap((prefix) =>
    calls.map(([method, call]) =>
      route({
        method,
        path: `${prefix}/2.0/mlflow-artifacts/${call}/*path`,
        verb: method === "GET" ? "get" : "create",
        resource: "artifacts",
        handle: refuse,
      }),
    ),
  );
}

function pathOf(request: RouteRequest): string {
  return request.parameters["path"] ?? "";
}

/** A blob as a download, whole or one range of it; a folder and an absent blob are refused. */
async function sendBlob(blobs: BlobStore, path: string, { headers }: RouteRequest): Promise<RouteResponse> {
  const key = artifactKey(path);
  const read = key === "" ? undefined : await openBlob(blobs, key, headers["range"]);
  if (read === "unsatisfiable") return { status: 416, headers: { "x-content-type-options": "nosniff" } };
  if (read !== undefined) return download(key, read);
  if (await isFolder(blobs, key)) {
    return jsonAnswer(400, { detail: `Artifact path refers to a directory, not a file: '${shownPath(path)}'` });
  }
  throw notFound(`No such artifact: '${shownPath(path)}'`);
}

function download(key: string, { info, range, body }: BlobRead): RouteResponse {
  const headers = {
    "content-type": downloadType(key, info.contentType),
    "content-length": String(range === undefined ? info.sizeBytes : range.end - range.start + 1),
    "content-disposition": attachmentHeader(key),
    "x-content-type-options": "nosniff",
    "accept-ranges": "bytes",
    etag: `"${info.etag}"`,
  };
  if (range === undefined) return { status: 200, headers, body };
  return {
    status: 206,
    headers: { ...headers, "content-range": `bytes ${range.start}-${range.end}/${info.sizeBytes}` },
    body,
  };
}

/** A key that no blob can have is one that no blob has. */
async function openBlob(
  blobs: BlobStore,
  key: string,
  rangeHeader: string | undefined,
): Promise<BlobRead | undefined | "unsatisfiable"> {
  try {
    const range = parseRangeHeader(rangeHeader);
    return await blobs.get(key, range === undefined ? {} : { range });
  } catch (error) {
    if (error instanceof BlobError && error.reason === "InvalidKey") return undefined;
    if (error instanceof BlobError && error.reason === "InvalidRange") return "unsatisfiable";
    throw error;
  }
}

async function isFolder(blobs: BlobStore, key: string): Promise<boolean> {
  const { blobs: found, prefixes } = await blobs.list({ prefix: key === "" ? "" : `${key}/`, limit: 1 });
  return found.length + prefixes.length > 0;
}

async function receiveBlob(blobs: BlobStore, path: string, request: RouteRequest): Promise<RouteResponse> {
  const key = artifactKey(path);
  if (key === "" || path.endsWith("/")) {
    return jsonAnswer(400, { detail: "Artifact path must include a filename (cannot end with '/')." });
  }
  await blobs.put(key, request.body, { maxBytes: MAX_ARTIFACT_BYTES, signal: request.signal });
  return answer(200, "");
}

async function deleteTree(blobs: BlobStore, path: string): Promise<RouteResponse> {
  const key = artifactKey(path);
  if (key === "") throw new TrackingError("INVALID_PARAMETER_VALUE", "Invalid path");
  await blobs.delete(key);
  for (let more = true; more; ) {
    const page = await blobs.list({ prefix: `${key}/` });
    for (const blob of page.blobs) await blobs.delete(blob.key);
    more = page.next !== undefined;
  }
  return jsonAnswer(200, {});
}

async function listFolder(blobs: BlobStore, key: string, shownAs: (name: string) => string): Promise<JsonObject[]> {
  const files: { path: string; is_dir: boolean; file_size?: number }[] = [];
  const prefix = key === "" ? "" : `${key}/`;
  for (let after: string | undefined = ""; after !== undefined && files.length < MAX_LISTED; ) {
    const page = await blobs.list({ prefix, delimiter: "/", ...(after === "" ? {} : { after }) });
    for (const folder of page.prefixes) files.push({ path: shownAs(posix.basename(folder)), is_dir: true });
    for (const { key: file, sizeBytes } of page.blobs) {
      // As in all of the protocol's JSON, a size of 0 is left out.
      files.push({
        path: shownAs(posix.basename(file)),
        is_dir: false,
        ...(sizeBytes === 0 ? {} : { file_size: sizeBytes }),
      });
    }
    after = page.next;
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}
