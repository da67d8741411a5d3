import { CelEvaluationError } from "../errors.js";
import { type Engine, Opaque } from "../language/index.js";

/** Why a text is no absolute URL and no path, in the words of Go's url.ParseRequestURI; `undefined`: it is one. */
export function uriFault(text: string): string | undefined {
  const say = (why: string): string => `parse ${JSON.stringify(text)}: ${why}`;
  if (Array.from(text).some((sign) => sign < " " || sign === "\x7f"))
    return say("net/url: invalid control character in URL");
  if (text === "") return say("empty url");
  if (text.startsWith(":")) return say("missing protocol scheme");
  const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(text)?.[0];
  const rest = text.slice(scheme?.length ?? 0);
  if (!rest.startsWith("/") && scheme === undefined) return say("invalid URI for request");
  const host = /^\/\/([^/?]*)/.exec(rest)?.[1] ?? "";
  const bad = /[ "<>\\^`{|}]/.exec(host)?.[0];
  if (scheme !== undefined && bad !== undefined) return say(`invalid character ${JSON.stringify(bad)} in host name`);
  const escaped = /%(?![\da-f]{2}).{0,2}/i.exec(rest.split("?", 1).join(""))?.[0];
  if (escaped !== undefined) return say(`invalid URL escape ${JSON.stringify(escaped)}`);
  return undefined;
}

/** An absolute URL or path, as Go's url.ParseRequestURI takes it. */
class Location extends Opaque {
  readonly typeName = "kubernetes.URL";
  readonly url: URL;
  readonly isPath: boolean;

  constructor(url: URL = new URL("x:/"), isPath = false) {
    super();
    this.url = url;
    this.isPath = isPath;
  }

  isEqual(other: Opaque): boolean {
    return other instanceof Location && other.isPath === this.isPath && other.url.href === this.url.href;
  }
}

function readUrl(text: string): Location {
  const fault = uriFault(text);
  const isPath = text.startsWith("/");
  const full = isPath ? `http://path${text}` : text;
  if (fault !== undefined || !URL.canParse(full))
    throw new CelEvaluationError(
      `URL parse error during conversion from string: ${fault ?? `parse ${JSON.stringify(text)}: invalid URI for request`}`,
    );
  return new Location(new URL(full), isPath);
}

/** URLs and what they can be asked. */
export function defineUrls(engine: Engine): void {
  const type = "kubernetes.URL";
  engine.declareType(type);
  engine.define(`url(string): ${type}`, readUrl);
  engine.define("isURL(string): bool", (text: string) => uriFault(text) === undefined);
  const parts: Readonly<Record<string, (url: URL) => string>> = {
    getScheme: ({ protocol }) => protocol.replace(/:$/, ""),
    getHost: ({ host }) => host,
    getHostname: ({ hostname }) => hostname.replace(/^\[|\]$/g, ""),
    getPort: ({ port }) => port,
  };
  for (const [name, part] of Object.entries(parts))
    engine.define(`${type}.${name}(): string`, ({ url, isPath }: Location) => (isPath ? "" : part(url)));
  engine.define(`${type}.getEscapedPath(): string`, ({ url }: Location) => url.pathname);
  engine.define(`${type}.getQuery(): map<string, list<string>>`, ({ url }: Location) => {
    const query = new Map<string, string[]>();
    for (const [key, value] of url.searchParams) query.set(key, [...(query.get(key) ?? []), value]);
    return query;
  });
}
