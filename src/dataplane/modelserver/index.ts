/**
 * The model server: a process of its own that answers the V1 and V2 (Open Inference Protocol) REST protocols with ONNX models.
 * In: a folder, a repository of folders or an `s3://` address, and HTTP requests. Out: predictions, readiness that means "has
 * answered", metrics. May use: the kernel, onnxruntime.
 */

export { ModelError } from "./failures.js";
export type { FetchOptions } from "./fetch.js";
export { fetchModel } from "./fetch.js";
export { MODEL_SERVER_USAGE, runModelServerProgram } from "./program.js";
export type { ModelServer, ModelServerOptions } from "./server.js";
export { runModelServer } from "./server.js";
