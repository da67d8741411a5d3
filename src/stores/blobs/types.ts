import { ArgosyError } from "../../kernel/errors/index.js";

/** What is known of one stored blob. */
export interface BlobInfo {
  readonly key: string;
  readonly sizeBytes: number;
  /** Opaque, without quotes; differs whenever the content differs. */
  readonly etag: string;
  readonly modifiedMs: number;
  readonly contentType: string;
  /** Lower-case hex of the content; absent where the home does not keep it. */
  readonly sha256?: string;
}

/** Bytes `start` to `end`, both inclusive and inside the blob. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** A range as callers ask for it: from `start` (to `end`, inclusive), or the last `suffix` bytes. */
export type RangeRequest = { readonly start: number; readonly end?: number } | { readonly suffix: number };

export interface PutOptions {
  readonly contentType?: string;
  /** Refuse the content unless its SHA-256 (lower-case hex) is this. */
  readonly sha256?: string;
  /** Refuse the content unless its MD5 (lower-case hex) is this. */
  readonly md5?: string;
  /** Refuse when the key exists already. */
  readonly onlyIfAbsent?: boolean;
  /** Refuse content longer than this. */
  readonly maxBytes?: number;
  readonly signal?: AbortSignal;
}

/** An open blob. Either iterate `body` to its end (or break out of it), or call `discard`. */
export interface BlobRead {
  readonly info: BlobInfo;
  /** What of the blob `body` carries; absent: all of it. */
  readonly range?: ByteRange;
  readonly body: AsyncIterable<Uint8Array>;
  discard(): Promise<void>;
}

export interface ListQuery {
  /** Only keys that begin with this. */
  readonly prefix?: string;
  /** With `"/"`: keys that go on after the next `/` are rolled up into `prefixes`. */
  readonly delimiter?: "/";
  /** Only what sorts after this key or prefix (UTF-8 byte order). */
  readonly after?: string;
  /** Keys and prefixes together; default and most 1000. */
  readonly limit?: number;
}

export interface BlobPage {
  readonly blobs: readonly BlobInfo[];
  /** Rolled-up prefixes, each ending in `/`. */
  readonly prefixes: readonly string[];
  /** Pass as `after` to go on; absent: this was the last page. */
  readonly next?: string;
}

/**
 * Where artifacts live. Keys are 1 to 1024 bytes of UTF-8, `/` parts them into folders; a key cannot be the folder of another
 * key. A put is all or nothing and durable when it resolves. Every method throws `BlobError`.
 */
export interface BlobStore {
  put(key: string, content: Uint8Array | AsyncIterable<Uint8Array>, options?: PutOptions): Promise<BlobInfo>;
  /** `undefined`: no such blob. Throws `InvalidRange` when nothing of the range lies inside the blob. */
  get(key: string, options?: { range?: RangeRequest; signal?: AbortSignal }): Promise<BlobRead | undefined>;
  head(key: string): Promise<BlobInfo | undefined>;
  /** In UTF-8 byte order of the keys. */
  list(query?: ListQuery): Promise<BlobPage>;
  /** Whether there was such a blob. */
  delete(key: string): Promise<boolean>;
  close(): Promise<void>;
}

/** Why a blob operation was refused or failed. */
export type BlobErrorCode =
  /** The key is empty, too long, or no valid name. */
  | "InvalidKey"
  | "InvalidRange"
  /** A checksum or a stated length does not fit the content. */
  | "BadDigest"
  | "TooLarge"
  /** `onlyIfAbsent` was given and the key exists. */
  | "Exists"
  /** The key is a folder of other keys, or lies under a key that is a blob. */
  | "Conflict"
  | "Aborted"
  /** Disk full. */
  | "NoSpace"
  /** The home does not let us do this: wrong key or missing permission. */
  | "Refused"
  /** The home does not answer, or answers with an error. */
  | "Unavailable";

/** A failed blob operation; `code` is a `BlobErrorCode`. */
export class BlobError extends ArgosyError {
  readonly reason: BlobErrorCode;

  constructor(reason: BlobErrorCode, message: string, options?: ErrorOptions) {
    super(reason, message, options);
    this.reason = reason;
  }
}
