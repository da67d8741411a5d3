import { type HostileBody, hostileBody } from "./bodies.js";
import type { Dice } from "./random.js";

/** A request that an HTTP library would send. */
export interface HostileRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
}

const plurals = [
  "/api/v1/namespaces/default/configmaps",
  "/api/v1/namespaces/default/pods",
  "/api/v1/namespaces",
  "/api/v1/nodes",
  "/apis/apps/v1/namespaces/default/deployments",
  "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
  "/apis/batch/v1/namespaces/default/jobs",
  "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
  "/apis/rbac.authorization.k8s.io/v1/clusterroles",
  "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
  "/apis/authentication.k8s.io/v1/tokenreviews",
];
const oddPaths = [
  "/",
  "//",
  "/api",
  "/apis",
  "/api/v1//pods",
  "/api/v1/../v1/pods",
  "/api/v1/%2e%2e/v1/pods",
  "/api/v1/namespaces/..%2f..%2fetc/pods",
  "/api/v1/namespaces/%00/pods",
  "/api/v1/namespaces/default/pods/%2F",
  "/api/v1/namespaces/default/pods/%",
  "/api/v1/namespaces/default/pods/%zz",
  "/api/v1/namespaces/default/pods/%c3%28",
  "/apis/%00",
  "/openapi/v3/apis/../../x",
  "/openapi/v2?x",
  "/logs/../../etc/passwd",
  "/.well-known/openid-configuration",
  "/api/v1/namespaces/default/pods/x/log",
  "/api/v1/namespaces/default/pods/x/exec?command=a",
  "/api/v1/nodes/x/proxy/../../y",
  "/api/v1/namespaces/default/services/http:x:1/proxy/%2e%2e/",
  "/healthz/../api",
  "/metrics",
  "/version/",
  "/apis/apps/v1/namespaces/default/deployments/x/scale",
  "/api/v1/watch/pods",
  "/api/v1/proxy/nodes/x",
  "/api/v1/namespaces/default/serviceaccounts/default/token",
  "/api/v1/namespaces/default/pods/x/eviction",
  "/api/v1/namespaces/default/bindings",
];
const oddQueries = [
  "limit=-1",
  "limit=99999999999999999999",
  "limit=1&continue=AAAA",
  `continue=${"A".repeat(8000)}`,
  "resourceVersion=abc",
  "resourceVersion=-1",
  "resourceVersion=99999999999999999999999",
  "resourceVersion=5&resourceVersionMatch=Nope",
  "labelSelector=%00",
  "labelSelector=a%20in%20(",
  `labelSelector=${"a=b,".repeat(3000)}x`,
  "labelSelector=!!a",
  "fieldSelector=a",
  "fieldSelector=metadata.name%3D",
  "fieldSelector=spec.nodeName%3Da%2C%2C",
  "timeoutSeconds=-1",
  "timeoutSeconds=1e9",
  "watch=true&timeoutSeconds=1&resourceVersion=x",
  "watch=maybe",
  "dryRun=x",
  "dryRun=All&dryRun=All",
  "fieldManager=%00",
  `fieldManager=${"f".repeat(5000)}`,
  "fieldValidation=x",
  "pretty=true",
  "force=x",
  "gracePeriodSeconds=-5",
  "propagationPolicy=x",
  "orphanDependents=x",
  "allowWatchBookmarks=true&sendInitialEvents=true",
  "%ff=%ff",
  "a=b&".repeat(2000),
  "=",
];
const oddHeaders: readonly Readonly<Record<string, string>>[] = [
  {},
  { accept: "*/*;q=2" },
  { accept: "application/json;as=Table;g=meta.k8s.io;v=v9" },
  { accept: "application/vnd.kubernetes.protobuf" },
  { accept: "application/yaml;as=PartialObjectMetadata;v=v1;g=meta.k8s.io" },
  { accept: `${"a/b,".repeat(1500)}c/d` },
  { "accept-encoding": "gzip;q=0, *;q=x" },
  { "impersonate-user": "\u00ff" },
  { "impersonate-user": "system:serviceaccount:a" },
  { "impersonate-user": "x", "impersonate-extra-%": "y" },
  { authorization: "Bearer" },
  { authorization: `Bearer ${"a".repeat(7000)}` },
  { authorization: "Bearer eyJhbGciOiJub25lIn0.e30." },
  { authorization: "Basic Og==" },
  { "sec-websocket-protocol": "base64url.bearer.authorization.k8s.io.%%%" },
  { "x-forwarded-for": "1.2.3.4, ::1, %00" },
  { expect: "100-continue" },
  { "audit-id": "../../x" },
];

/** One of all kinds, as the administrator, or as a stranger. */
export function hostileRequest(dice: Dice, token: string): HostileRequest {
  const where = dice.chance(3)
    ? dice.pick(oddPaths)
    : dice.pick(plurals) + (dice.chance(2) ? `/${encodeURIComponent(safe(dice.text(8)))}` : "");
  const query = dice.chance(2) ? `${where.includes("?") ? "&" : "?"}${dice.pick(oddQueries)}` : "";
  const method = dice.pick([
    "GET",
    "GET",
    "POST",
    "POST",
    "PUT",
    "PATCH",
    "PATCH",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "PROPFIND",
  ]);
  const body: HostileBody | undefined =
    /POST|PUT|PATCH|DELETE/.test(method) && !dice.chance(6) ? hostileBody(dice) : undefined;
  const who = dice.chance(8) ? "stranger-token-0123456789" : token;
  return {
    method,
    path: where + query,
    headers: {
      authorization: `Bearer ${who}`,
      ...(body === undefined || body.type === "" ? {} : { "content-type": body.type }),
      ...body?.headers,
      ...(dice.chance(3) ? dice.pick(oddHeaders) : {}),
    },
    body: body?.bytes,
  };
}

/** A lone surrogate has no percent-encoding. */
const safe = (text: string) => text.replace(/[\ud800-\udfff]/g, "?");

/** Bytes that no HTTP library would send. */
export function hostileBytes(dice: Dice, token: string): Buffer {
  const head = `Host: x\r\nAuthorization: Bearer ${token}\r\n`;
  const post = "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\n";
  const body = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"h-"}}';
  const smuggled = `GET /api/v1/namespaces/default/secrets HTTP/1.1\r\n${head}\r\n`;
  const texts = [
    () => dice.bytes(dice.int(400)).toString("latin1"),
    () => `GET ${dice.text(40)} HTTP/1.1\r\n${head}\r\n`,
    () => `GET / HTTP/${dice.pick(["0.9", "1.0", "1.2", "2.0", "9.9", "x"])}\r\n${head}\r\n`,
    () => `GET http://evil.example/api HTTP/1.1\r\n${head}\r\n`,
    () => `CONNECT evil.example:443 HTTP/1.1\r\n${head}\r\n`,
    () => `OPTIONS * HTTP/1.1\r\n${head}\r\n`,
    () => `GET / HTTP/1.1\n${head.replaceAll("\r\n", "\n")}\n`,
    () => `GET / HTTP/1.1\r\nHost: x\r\n Folded: y\r\n${head}\r\n`,
    () => `GET / HTTP/1.1\r\n${"X: y\r\n".repeat(dice.pick([100, 3000, 20_000]))}${head}\r\n`,
    () => `GET / HTTP/1.1\r\nX: ${"y".repeat(dice.pick([8000, 17_000, 200_000]))}\r\n${head}\r\n`,
    () => `GET /${"a".repeat(dice.pick([8000, 17_000, 200_000]))} HTTP/1.1\r\n${head}\r\n`,
    () => `GET / HTTP/1.1\r\nNul\u0000: a\r\nX: a\u0000b\r\n${head}\r\n`,
    () => `GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n`,
    () => `GET / HTTP/1.1\r\n\r\n`,
    () => `${post}${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    () => `${post}${head}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n${smuggled}`,
    () => `${post}${head}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    () => `${post}${head}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
    () => `${post}${head}Content-Length: ${body.length}\r\nContent-Length: 1\r\n\r\n${body}${smuggled}`,
    () => `${post}${head}Content-Length: +${body.length}\r\n\r\n${body}`,
    () => `${post}${head}Content-Length: -1\r\n\r\n${body}`,
    () => `${post}${head}Content-Length: 99999999999999999999\r\n\r\n${body}`,
    () => `${post}${head}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n${body}`,
    () => `${post}${head}Transfer-Encoding: chunked\r\n\r\n${"1\r\na\r\n".repeat(500)}0\r\nX: y\r\n\r\n`,
    () => `${post}${head}Transfer-Encoding: chunked\r\n\r\n5;${"e".repeat(40_000)}\r\nabcde\r\n0\r\n\r\n`,
    () => `${post}${head}Expect: 200-maybe\r\nContent-Length: 2\r\n\r\n{}`,
    () =>
      `GET /api/v1/namespaces/default/pods/x/exec HTTP/1.1\r\n${head}Connection: Upgrade\r\nUpgrade: ${dice.pick(["websocket", "SPDY/3.1", "h2c", "x"])}\r\nSec-WebSocket-Version: ${dice.int(20)}\r\nSec-WebSocket-Key: ${dice.text(4).replace(/[\r\n]/g, "")}\r\n\r\n${dice.bytes(50).toString("latin1")}`,
    () =>
      `GET / HTTP/1.1\r\n${head}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n\r\n`,
    () => `${`GET /version HTTP/1.1\r\n${head}\r\n`.repeat(dice.pick([2, 50, 500]))}`,
    () => `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${dice.bytes(100).toString("latin1")}`,
    () => `${post}${head}Content-Length: 100\r\n\r\n${body.slice(0, 20)}`,
    () => post,
    () => "",
  ];
  return Buffer.from(dice.pick(texts)(), "latin1");
}
