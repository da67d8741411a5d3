/**
 * The model server: a process of its own that answers V1, V2 (Open Inference Protocol) and their neighbours with models: ONNX,
 * XGBoost, LightGBM and scikit-learn, JavaScript, Python. In: a folder, a repository of folders or an `s3://` address, and
 * requests. Out: predictions and explanations, readiness that means "has answered", metrics. Inside: protocols at the top,
 * `repository` and `residency` (which models are there), `batcher`, `engines/` (what runs models, and where), `explain/`,
 * `payload-log/` (copies of requests and answers; also before servers of others). May use: the kernel, onnxruntime.
 */

export { MODEL_SERVER_USAGE } from "./arguments.js";
export { ModelError } from "./failures.js";
export { runModelServerProgram } from "./program.js";
export type { ModelServer, ModelServerOptions } from "./server.js";
export { runModelServer } from "./server.js";
export type { FetchOptions } from "./storage/index.js";
export { fetchModel } from "./storage/index.js";
