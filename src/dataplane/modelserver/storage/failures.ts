/** Why a model could not be brought here, by name. */

import { messageOf } from "../../../kernel/errors/index.js";
import { errnoOf } from "../../../kernel/files/index.js";
import { ModelError } from "../failures.js";

/** The first word of the message of every failed download. */
export type DownloadReason =
  /** There is no such bucket, repository, file or model. */
  | "NotFound"
  /** Credentials are missing, wrong, or do not suffice. */
  | "AccessDenied"
  /** The content is not what the store says it is. */
  | "ChecksumMismatch"
  /** The content was replaced while it was read, several times. */
  | "ChangedDuringDownload"
  /** The store stopped sending. */
  | "Stalled"
  /** The node's disk is full. */
  | "NoSpace"
  /** The disk quota, or the store's, is used up. */
  | "QuotaExceeded"
  /** The store cannot be reached, or fails. */
  | "Unavailable"
  /** An archive that cannot be unpacked, or must not be. */
  | "InvalidArchive"
  /** Settings or answers that cannot be understood. */
  | "InvalidSource"
  /** A URI or feature that is not offered. */
  | "Unsupported";

const TRANSIENT: readonly DownloadReason[] = ["ChecksumMismatch", "ChangedDuringDownload", "Stalled", "Unavailable"];

/** A download that failed. The message begins with the reason; secrets are never in it. */
export class DownloadError extends ModelError {
  readonly download: DownloadReason;
  /** What the store asks to wait before the next try. */
  readonly retryAfterMs: number;
  /** The disk, or its quota, is full: room may come by others' doing. */
  readonly isFull: boolean;

  constructor(
    download: DownloadReason,
    message: string,
    options: { cause?: unknown; transient?: boolean; retryAfterMs?: number } = {},
  ) {
    super("ModelDownloadFailed", `${download}: ${message}`, {
      ...(options.cause === undefined ? {} : { cause: options.cause }),
      transient: options.transient ?? TRANSIENT.includes(download),
    });
    this.download = download;
    this.retryAfterMs = options.retryAfterMs ?? 0;
    this.isFull = download === "NoSpace" || errnoOf(options.cause) === "EDQUOT";
  }
}

/** Codes of failures that are a timeout. */
const STALLS = ["ETIMEDOUT", "ConnectTimeout"];

/** A failure of a connection or of the disk; `where` is what was read, for people. */
export function asDownloadError(error: unknown, where: string): DownloadError {
  if (error instanceof DownloadError) return error;
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = errnoOf(error) ?? errnoOf(cause) ?? "";
  if (code === "ENOSPC") return new DownloadError("NoSpace", `${where}: the disk is full`, { cause: error });
  if (code === "EDQUOT")
    return new DownloadError("QuotaExceeded", `${where}: the disk quota is used up`, { cause: error });
  if (STALLS.includes(code))
    return new DownloadError("Stalled", `${where}: nothing came for too long`, { cause: error });
  const isCertificate = /CERT|SELF_SIGNED|ALTNAME|UNABLE_TO/.test(code);
  const hint = isCertificate
    ? "; its certificate is not trusted here: give the store's CA with its credentials (ca_certs, certificate, or AWS_CA_BUNDLE)"
    : "";
  return new DownloadError("Unavailable", `cannot read ${where}: ${messageOf(error)}${hint}`, {
    cause: error,
    transient: !isCertificate,
  });
}
