import type { HttpRoute } from "../../kernel/module/types.js";
import { answer } from "./answers.js";
import type { Endpoint } from "./context.js";

/** The protocol's version that this server speaks; clients choose calls by it. */
const PROTOCOL_VERSION = "3.17.2";

/** Routes that need no identity: whether the server answers, and which protocol it speaks. */
export function serviceRoutes(): HttpRoute[] {
  return [
    { method: "GET", path: "/health", anonymous: true, handle: async () => answer(200, "OK") },
    { method: "GET", path: "/version", anonymous: true, handle: async () => answer(200, PROTOCOL_VERSION) },
  ];
}

/** `server-info`: what of the protocol is offered. */
export function serviceEndpoints(): Endpoint[] {
  return [
    {
      method: "GET",
      path: "server-info",
      version: "3.0",
      verb: "list",
      resource: "experiments",
      call: async () => ({
        store_type: "SqlStore",
        workspaces_enabled: false,
        trace_archival_enabled: false,
        multipart_uploads_enabled: false,
        multipart_downloads_enabled: false,
        presigned_upload_model_id_supported: false,
        presigned_upload_run_id_supported: false,
        features_enabled: { gateway: false },
      }),
    },
  ];
}
