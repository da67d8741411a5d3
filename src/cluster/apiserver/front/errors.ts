import { ArgosyError } from "../../../kernel/errors/index.js";

/** The address cannot be listened on. `code` is PortInUse, PortForbidden or AddressUnavailable. */
export class ListenError extends ArgosyError {
  readonly host: string;
  readonly port: number;

  constructor(code: string, address: { readonly host: string; readonly port: number }, options: ErrorOptions) {
    const what = `${address.host}:${address.port}`;
    super(code, `cannot listen on ${what}: ${describe(code)}`, options);
    this.host = address.host;
    this.port = address.port;
  }
}

function describe(code: string): string {
  if (code === "PortInUse") return "another program uses this port; stop it or choose another port";
  if (code === "PortForbidden") return "this user may not use the port; choose one above 1023";
  return "the address is not one of this machine";
}

/** The typed form of what `listen` failed with. */
export function listenError(error: unknown, address: { readonly host: string; readonly port: number }): ListenError {
  const code = typeof error === "object" && error !== null && "code" in error ? error.code : "";
  const name = code === "EADDRINUSE" ? "PortInUse" : code === "EACCES" ? "PortForbidden" : "AddressUnavailable";
  return new ListenError(name, address, { cause: error });
}
