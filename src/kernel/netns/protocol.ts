/** What the parent asks the helper for. */
export interface SocketRequest {
  readonly id: number;
  readonly kind: "connect" | "listen" | "datagrams";
  readonly host: string;
  readonly port: number;
}

/** What the helper says with a socket, or instead of one. */
export interface SocketAnswer {
  readonly id: number;
  /** A system error's code, `ECONNREFUSED`; absent: here is the socket. */
  readonly code?: string;
  readonly message?: string;
}

/** The request in a message; `undefined` when it is none. */
export function parseRequest(message: unknown): SocketRequest | undefined {
  const fields = fieldsOf(message);
  const [id, kind, host, port] = ["id", "kind", "host", "port"].map((name) => fields.get(name));
  if (typeof id !== "number" || typeof host !== "string" || typeof port !== "number") return undefined;
  return kind === "connect" || kind === "listen" || kind === "datagrams" ? { id, kind, host, port } : undefined;
}

/** The answer in a message; `undefined` when it is none. */
export function parseAnswer(message: unknown): SocketAnswer | undefined {
  const fields = fieldsOf(message);
  const [id, code, text] = ["id", "code", "message"].map((name) => fields.get(name));
  if (typeof id !== "number") return undefined;
  return {
    id,
    ...(typeof code === "string" ? { code } : {}),
    ...(typeof text === "string" ? { message: text } : {}),
  };
}

function fieldsOf(message: unknown): ReadonlyMap<string, unknown> {
  return new Map<string, unknown>(typeof message === "object" && message !== null ? Object.entries(message) : []);
}
