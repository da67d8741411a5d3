import { ArgosyError } from "../../kernel/errors/index.js";
import { BlobError, type BlobErrorCode } from "./types.js";

/** A refusal in the words of S3; `code` is S3's. */
export class S3Error extends ArgosyError {
  readonly status: number;

  constructor(status: number, code: string, message: string, options?: ErrorOptions) {
    super(code, message, options);
    this.status = status;
  }
}

const BY_REASON: Readonly<Record<BlobErrorCode, readonly [number, string]>> = {
  InvalidKey: [400, "InvalidArgument"],
  InvalidRange: [416, "InvalidRange"],
  BadDigest: [400, "BadDigest"],
  TooLarge: [400, "EntityTooLarge"],
  Exists: [412, "PreconditionFailed"],
  Conflict: [409, "OperationAborted"],
  Aborted: [400, "RequestTimeout"],
  NoSpace: [507, "InsufficientStorage"],
  Refused: [403, "AccessDenied"],
  Unavailable: [503, "ServiceUnavailable"],
};

/** A failure of the store as S3 says it; `undefined` for what is nobody's request's fault. */
export function toS3Error(error: unknown): S3Error | undefined {
  if (error instanceof S3Error) return error;
  if (!(error instanceof BlobError)) return undefined;
  const [status, code] = BY_REASON[error.reason];
  return new S3Error(status, code, error.message, { cause: error });
}
