import { type HeadRoute, secondsOf } from "./rendering.js";

/** How a backend of haproxy knows its servers' health, and what of it cannot be. */
export interface HaproxyChecks {
  readonly lines: readonly string[];
  /** Why gRPC's health protocol is not spoken though it is asked for; empty otherwise. */
  readonly lack: string;
}

/** Pure. */
export function checksOf({ route }: HeadRoute): HaproxyChecks {
  const path = route.backends.find(({ health }) => health?.path !== undefined)?.health?.path;
  const grpc = route.backends.find(({ health }) => health?.grpc !== undefined)?.health?.grpc;
  const priorities = new Set(route.backends.map(({ priority }) => priority ?? 0));
  const lines = priorities.size > 1 ? ["  option allbackups"] : [];
  const checked = route.backends.find(({ health }) => health !== undefined)?.health;
  // Without it a check that takes longer than the interval has failed.
  if (checked !== undefined) lines.push(`  timeout check ${secondsOf(checked.timeoutMs ?? 500)}`);
  const hosts = new Set(route.backends.map(({ host }) => host ?? ""));
  const [host] = hosts.size === 1 ? hosts : [undefined];
  if (path !== undefined)
    return {
      lines: [
        ...lines,
        "  option httpchk",
        `  http-check send meth GET uri ${path} ver HTTP/1.1${host === "" ? "" : ` hdr Host ${host ?? "%[srv_name]"}`} hdr X-Argosy-Check 1`,
        "  http-check expect status 100-499",
      ],
      lack: "",
    };
  if (grpc === undefined) return { lines, lack: "" };
  const lengths = [...hosts].map((one) => one.length);
  if (Math.max(...lengths) > LONGEST || grpc.length > LONGEST)
    return {
      lines,
      lack: `haproxy asks by gRPC's health protocol only hosts of up to ${LONGEST} characters: a backend counts as healthy while it takes connections`,
    };
  const own = host === "" ? route.backends.flatMap(({ addresses }) => addresses)[0] : host;
  return {
    lines: [
      ...lines,
      "  option tcp-check",
      "  tcp-check connect default linger",
      `  tcp-check send-binary-lf ${healthRequest(own, grpc)}`,
      `  tcp-check expect rbinary ${ALIVE}`,
    ],
    lack: "",
  };
}

/** Longer texts have their lengths in several bytes. */
const LONGEST = 126;

const hexOf = (bytes: string | readonly number[]): string => Buffer.from(bytes).toString("hex").toUpperCase();
const bytesOf = (hex: string): number => hex.length / 2;
const size = (bytes: number, count: number): string =>
  bytes
    .toString(16)
    .toUpperCase()
    .padStart(count * 2, "0");
/** A text of HPACK, without Huffman's code. */
const literal = (text: string): string => `${size(text.length, 1)}${hexOf(text)}`;

/** Client's preface of HTTP/2, and settings: none. */
const OPENING = `${hexOf("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")}000000040000000000`;
/** POST, http, and the path; the name of what follows, `:authority`. */
const BEFORE_HOST = `838604${literal("/grpc.health.v1.Health/Check")}01`;
/** Content-type and te. */
const AFTER_HOST = `0F10${literal("application/grpc")}00${literal("te")}${literal("trailers")}`;

/** A health request of gRPC in frames of HTTP/2, as hexadecimal text of haproxy. `host` undefined: each server's own name. */
function healthRequest(host: string | undefined, service: string): string {
  const around = bytesOf(BEFORE_HOST) + bytesOf(AFTER_HOST) + 1;
  const [length, authority] =
    host === undefined
      ? [`%[srv_name,length,add(${around}),bytes(5,3),hex]`, "%[srv_name,length,bytes(7,1),hex]%[srv_name,hex]"]
      : [size(around + host.length, 3), literal(host)];
  const message = service === "" ? "" : `0A${literal(service)}`;
  const body = `00${size(bytesOf(message), 4)}${message}`;
  const headers = `${length}010400000001${BEFORE_HOST}${authority}${AFTER_HOST}`;
  return `${OPENING}${headers}${size(bytesOf(body), 3)}000100000001${body}`;
}

/** In an answer: a message that says "serving", or the status "unimplemented", plain or in Huffman's code: who does not know the protocol is alive by saying so. */
const ALIVE = "00000000020801|(677270632D737461747573|9ACAC8B21234DA8F)(023132|8208BF)";
