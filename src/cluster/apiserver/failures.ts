import { ApiError, type Status, type StatusCause } from "../../kernel/errors/index.js";

/** The resource that a failure is about: group and plural (Status details call the plural `kind`). */
export interface About {
  readonly group: string;
  readonly plural: string;
}

type Details = NonNullable<Status["details"]>;

/** An `ApiError` of any shape; the constructors below cover the usual ones. */
export function failure(code: number, reason: string, message: string, details?: Details): ApiError {
  return new ApiError({
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    reason,
    ...(details === undefined ? {} : { details }),
    code,
  });
}

/** `deployments.apps`, or `pods` in the core group. */
export function qualified(about: About): string {
  return about.group === "" ? about.plural : `${about.plural}.${about.group}`;
}

function detailsOf(about: About, name: string): Details {
  const { group } = about;
  return {
    ...(name === "" ? {} : { name }),
    ...(group === "" ? {} : { group }),
    kind: about.plural,
  };
}

/** 404 of one object. */
export function notFound(about: About, name: string): ApiError {
  return failure(404, "NotFound", `${qualified(about)} "${name}" not found`, detailsOf(about, name));
}

/** A failure that goes out as text: what upstream's HTTP layer refuses before its API machinery sees it. */
export class PlainFailure extends ApiError {
  readonly text: string;

  constructor(code: number, reason: string, text: string) {
    super({ kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message: text.trim(), reason, code });
    this.text = text;
  }
}

/** 404 of a path of a group or version that is not served. */
export function unservedPath(): ApiError {
  return new PlainFailure(404, "NotFound", "404 page not found\n");
}

/** 404 of a path that no resource of a served version has. */
export function unknownResource(): ApiError {
  return failure(404, "NotFound", "the server could not find the requested resource", {});
}

/** 409 of a create. */
export function alreadyExists(about: About, name: string): ApiError {
  return failure(409, "AlreadyExists", `${qualified(about)} "${name}" already exists`, detailsOf(about, name));
}

/** 409 of a write; `why` defaults to a resourceVersion that is not the latest. */
export function conflict(about: About, name: string, why?: string): ApiError {
  const cause = why ?? "the object has been modified; please apply your changes to the latest version and try again";
  return failure(
    409,
    "Conflict",
    `Operation cannot be fulfilled on ${qualified(about)} "${name}": ${cause}`,
    detailsOf(about, name),
  );
}

/** 400. */
export function badRequest(message: string): ApiError {
  return failure(400, "BadRequest", message);
}

/** 401; the message never says which part of the credentials was wrong. */
export function unauthorized(): ApiError {
  return failure(401, "Unauthorized", "Unauthorized");
}

/** 403 with the authorizer's or admission's words. */
export function forbidden(about: About, name: string, why: string): ApiError {
  const subject = name === "" ? `${qualified(about)} is forbidden` : `${qualified(about)} "${name}" is forbidden`;
  return failure(403, "Forbidden", `${subject}: ${why}`, detailsOf(about, name));
}

/** 403 in the words of an admission webhook's refusal; `why` may be empty. */
export function denied(webhook: string, why: string, code = 403, reason = "Forbidden"): ApiError {
  const start = `admission webhook ${JSON.stringify(webhook)} denied the request`;
  return failure(code, reason, why === "" ? `${start} without explanation` : `${start}: ${why}`);
}

/** 405. */
export function methodNotAllowed(): ApiError {
  return failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {});
}

/** 405 of a kind that a definition made. */
export function methodNotSupported(
  about: About & { readonly group: string; readonly plural: string },
  verb: string,
): ApiError {
  return failure(
    405,
    "MethodNotAllowed",
    `${verb} is not supported on resources of kind ${JSON.stringify(qualified(about))}`,
    { group: about.group, kind: about.plural },
  );
}

/** 406. `available` are the media types that are served here; `isForm`: the media type is one of them, the form asked for is not. */
export function notAcceptable(available: readonly string[], isForm: boolean): ApiError {
  const list = available.join(", ");
  const forms = available.filter((type) => !type.includes(";")).join(", ");
  return isForm
    ? failure(406, "NotAcceptable", `only the following media types are accepted: ${forms}`)
    : failure(406, "NotAcceptable", `406: Not Acceptable\n\nAvailable representations: ${list}`, {});
}

/** Whether a 406 is about the media type itself, which upstream refuses before anything else. */
export function isUnservedType(error: unknown): boolean {
  return error instanceof ApiError && error.message.startsWith("406: ");
}

/** 500 without a reason: what upstream's handlers do not make an answer of. */
export function unexplained(message: string): ApiError {
  return failure(500, "", message);
}

/** 410: the resourceVersion or continue token lies before the compaction. */
export function expired(message: string): ApiError {
  return failure(410, "Expired", message);
}

/** 413. */
export function tooLarge(limitBytes: number): ApiError {
  return failure(413, "RequestEntityTooLarge", `Request entity too large: limit is ${limitBytes}`);
}

/** 415 of a body that is no patch. */
export function unknownBodyFormat(accepted: readonly string[]): ApiError {
  const types = accepted.join(", ");
  return failure(
    415,
    "UnsupportedMediaType",
    `the body of the request was in an unknown format - accepted media types include: ${types}`,
  );
}

/** 415 of a patch of a type that the resource does not take. */
export function unsupportedPatch(): ApiError {
  return failure(415, "UnsupportedMediaType", "415: Unsupported Media Type", {});
}

const causeWords: Readonly<Record<string, string>> = {
  FieldValueRequired: "Required value",
  FieldValueNotFound: "Not found",
  FieldValueDuplicate: "Duplicate value",
  FieldValueInvalid: "Invalid value",
  FieldValueNotSupported: "Unsupported value",
  FieldValueForbidden: "Forbidden",
  FieldValueTooLong: "Too long",
  FieldValueTooMany: "Too many",
  InternalError: "Internal error",
  FieldValueTypeInvalid: "Invalid value",
};

/** 422 `<Kind> "<name>" is invalid: …`. The causes' messages begin with their kind of failure (`Required value: …`). */
export function invalid(
  kind: { readonly group: string; readonly kind: string; readonly storageGroup?: string },
  name: string,
  causes: readonly StatusCause[],
): ApiError {
  const group = kind.storageGroup ?? kind.group;
  const label = group === "" ? kind.kind : `${kind.kind}.${group}`;
  // What two checks found alike is said once, and listed twice.
  const texts = [...new Set(causes.map((cause) => `${cause.field}: ${withWord(cause)}`))];
  const list = texts.length === 1 ? texts[0] : `[${texts.join(", ")}]`;
  const details: Details = {
    ...(name === "" ? {} : { name }),
    ...(group === "" ? {} : { group }),
    ...(kind.kind === "" ? {} : { kind: kind.kind }),
    causes: causes.map((cause) => ({ ...cause, message: withWord(cause) })),
  };
  return failure(422, "Invalid", `${label} "${name}" is invalid: ${list}`, details);
}

function withWord(cause: StatusCause): string {
  const word = causeWords[cause.reason];
  return word === undefined || cause.message.startsWith(word) ? cause.message : `${word}: ${cause.message}`;
}

/** 500. */
export function internalError(message: string, cause?: unknown): ApiError {
  return new ApiError(
    {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: `Internal error occurred: ${message}`,
      reason: "InternalError",
      details: { causes: [{ reason: "", message, field: "" }] },
      code: 500,
    },
    { cause },
  );
}

/** 503: try again. */
export function unavailable(message: string, retryAfterSeconds?: number): ApiError {
  return failure(
    503,
    "ServiceUnavailable",
    message,
    retryAfterSeconds === undefined ? undefined : { retryAfterSeconds },
  );
}

/** 507: the disk is full; nothing was changed. Without Retry-After: kubectl would wait for the disk in silence, a person has to know. */
export function insufficientStorage(message: string): ApiError {
  return failure(507, "InsufficientStorage", message);
}
