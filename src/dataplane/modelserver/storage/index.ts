/**
 * Models from stores to this node. In: a URI and credentials (files, environment). Out: the model's files in a folder, checked, or a `DownloadError`
 * that says by name why not. `sources/` speak to stores, `download` reads one file by ranges, `cache` keeps content for all
 * programs of the node, `archive` unpacks. May use: the kernel, jose, tar-stream.
 */
export { type FetchOptions, fetchModel } from "./fetch.js";
export { bucketUrl, readS3Settings, type S3Settings } from "./s3-settings.js";
export { readTrust } from "./settings.js";
