/** What all stores have in common: files with names, versions and checksums, read whole or by ranges. */

/** A checksum that the store names; `git-blob` is git's SHA-1 over a header and the content. */
export interface Checksum {
  readonly algorithm: "md5" | "sha1" | "sha256" | "git-blob" | "crc32c";
  /** Lower case hexadecimal. */
  readonly hex: string;
}

/** Bytes `from` to `to`, both inclusive. */
export interface ByteRange {
  readonly from: number;
  readonly to: number;
}

/** What a store sends. */
export interface Content {
  readonly body: AsyncIterable<Uint8Array>;
  /** The answer tells that the checksum of the listing is none of the content (encrypted objects). */
  readonly isOpaque?: boolean;
}

/** What a listing tells of a file at least. */
export interface ListedFile {
  /** Path below the model's folder, with `/`. */
  readonly name: string;
  /** Bytes; absent: the store does not say. */
  readonly size?: number;
}

/** A file in a store, as it was listed. */
export interface RemoteFile extends ListedFile {
  /** Where it is, for people; never with credentials. */
  readonly address: string;
  /** Changes with the content; absent: the store names nothing that does, and what was begun is not taken up again. */
  readonly version?: string;
  readonly checksum?: Checksum;
  /** Whether parts of it can be read. */
  readonly hasRanges: boolean;
  /** Reads it as it was listed, or a part of it. Throws `DownloadError`; `ChangedDuringDownload` where it is another by now. */
  read(range?: ByteRange): Promise<Content>;
}

/** What a URI leads to. */
export interface Listing {
  /** In the order in which they are laid out. */
  readonly files: readonly RemoteFile[];
  /**
   * `files`: as they are, and a single archive unpacked. `layers`: each is an archive laid over the one before; only what is below
   * `folder` counts.
   */
  readonly layout: "files" | "layers";
  readonly folder?: string;
}

/** One model in a store. Failures are `DownloadError`. */
export interface Source {
  /** Files as they are now. */
  list(): Promise<Listing>;
  close(): Promise<void>;
}
