/**
 * Artifacts: blobs under keys, in two homes behind one interface.
 *
 * In: bytes as streams, from the tracking module and from S3 clients. Out: the same bytes, checksummed, whole or by range.
 * May use: kernel. `openDirectoryBlobs` keeps plain files in a directory.
 */
export { type DirectoryBlobsOptions, openDirectoryBlobs } from "./directory.js";
export { mediaTypeOf } from "./media-types.js";
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
