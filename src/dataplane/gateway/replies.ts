const PHRASES: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  413: "Content Too Large",
  414: "URI Too Long",
  417: "Expectation Failed",
  426: "Upgrade Required",
  431: "Request Header Fields Too Large",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};

/** An answer of the gateway's own. */
export interface Reply {
  readonly status: number;
  /** CamelCase, for machines. */
  readonly reason: string;
  readonly message: string;
  readonly route?: string;
  readonly retryAfterSeconds?: number | undefined;
}

/** The whole HTTP message of a reply. */
export function renderReply(reply: Reply, options: { readonly close: boolean; readonly withoutBody: boolean }): string {
  const { status: code, reason, message, route } = reply;
  const said = { code, reason, message, route };
  const body = `${JSON.stringify(code < 400 ? said : { error: said })}\n`;
  const lines = [
    `HTTP/1.1 ${reply.status} ${PHRASES[reply.status] ?? "Error"}`,
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Server: argosy-gateway",
    // Tells a gateway in front of this one that no backend spoke.
    `X-Argosy-Gateway: ${reply.reason}`,
  ];
  if (reply.retryAfterSeconds !== undefined) lines.push(`Retry-After: ${reply.retryAfterSeconds}`);
  if (options.close) lines.push("Connection: close");
  return `${lines.join("\r\n")}\r\n\r\n${options.withoutBody ? "" : body}`;
}
