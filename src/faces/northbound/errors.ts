import { ArgosyError } from "../../kernel/errors/index.js";

const STATUS = {
  BAD_REQUEST: 400,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  ENDPOINT_NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  REQUEST_TOO_LARGE: 413,
  DEADLINE_EXCEEDED: 504,
  TEMPORARILY_UNAVAILABLE: 503,
  INTERNAL_ERROR: 500,
} as const;

export type RefusalCode = keyof typeof STATUS;

/** A request that northbound itself refuses; answered as `{error_code, message}`, which is what MLflow clients read too. */
export class Refusal extends ArgosyError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    code: RefusalCode,
    message: string,
    options: ErrorOptions & { headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(code, message, options);
    this.status = STATUS[code];
    this.headers = options.headers ?? {};
  }
}
