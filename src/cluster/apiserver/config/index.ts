/**
 * Configuration files in the form of Kubernetes' own (apiVersion, kind, fields). In: a path or a text, the shape. Out: the
 * object, its shape checked, or an `InputError` that names file and field. May use: kernel errors and schema.
 */
export { ConfigFaults, type ConfigShape, parseConfig, readConfig } from "./config.js";
