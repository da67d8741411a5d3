/**
 * Artifacts: blobs under keys, in two homes behind one interface.
 *
 * In: bytes as streams, from the tracking module and from S3 clients. Out: the same bytes, checksummed, whole or by range.
 * May use: kernel. `openDirectoryBlobs` keeps plain files in a directory, `createS3Blobs` uses a bucket of any S3 server;
 * `createS3Server` is such a server over stores of this room.
 */
export { type DirectoryBlobsOptions, openDirectoryBlobs } from "./directory.js";
export { parseRangeHeader } from "./keys.js";
export type { S3Credential, S3Grant } from "./s3-auth.js";
export type { S3Access } from "./s3-client.js";
export { createS3Blobs } from "./s3-home.js";
export { createS3Server, type S3ServerOptions } from "./s3-server.js";
export {
  BlobError,
  type BlobErrorCode,
  type BlobInfo,
  type BlobPage,
  type BlobRead,
  type BlobStore,
  type ByteRange,
  type ListQuery,
  type PutOptions,
  type RangeRequest,
} from "./types.js";
