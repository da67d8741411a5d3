import type { BackendInput, ShadowInput } from "../../../dataplane/gateway/index.js";
import { type HeadRoute, SYSTEM_AUTHORITIES, secondsOf, TLS_DIRECTORY, wordOf } from "./rendering.js";
import { copiedBy } from "./shadowing.js";

/** The shadows of one route in a configuration of nginx. */
export interface NginxShadows {
  /** Beside the servers: who gets the copies, and which requests are copied. */
  readonly parts: readonly string[];
  /** In the server of a backend, and in its location. */
  readonly serverLines: (backend: string) => readonly string[];
  readonly locationLines: (backend: string) => readonly string[];
}

/**
 * Copies are made in the server that a backend has behind the front: nginx keeps a connection busy until the copy of its request is
 * done, and that one is not the client's. Pure.
 */
export function renderShadows(headRoute: HeadRoute): NginxShadows {
  const { route } = headRoute;
  const shadows = copiedBy("nginx", headRoute).map((shadow) => ({
    shadow,
    word: wordOf(`${route.id}/${shadow.name}`),
  }));
  const takenFrom = (backend: string) =>
    shadows.filter(({ shadow: { of = [] } }) => of.length === 0 || of.includes(backend));
  return {
    parts: shadows.flatMap(({ shadow, word }) => partsOf(shadow, word)),
    serverLines: (backend) => {
      const taken = takenFrom(backend);
      if (taken.length === 0) return [];
      return [
        "    keepalive_timeout 0;",
        ...taken.flatMap(({ shadow, word }) => copyLocation(headRoute, shadow, word)),
      ];
    },
    locationLines: (backend) => takenFrom(backend).map(({ word }) => `      mirror ${placeOf(word)};`),
  };
}

const placeOf = (word: string): string => `/.argosy-shadow/${word}`;

function partsOf({ addresses, maxConcurrent = 64, percent = 100 }: ShadowInput, word: string): string[] {
  const share = percent === 100 ? "  * 1;" : `  ${Math.max(0.01, Math.round(percent * 100) / 100)}% 1;\n    * 0;`;
  return [
    `  split_clients "$request_id ${word}" $argosy_shadow_${word} {\n  ${share}\n  }`,
    [
      `  upstream s_${word} {`,
      `    zone s_${word} 64k;`,
      ...addresses.map((address) => `    server ${address} max_fails=0 max_conns=${maxConcurrent};`),
      "    keepalive 16;",
      "  }",
    ].join("\n"),
  ];
}

function copyLocation({ head }: HeadRoute, shadow: ShadowInput, word: string): string[] {
  const time = secondsOf(shadow.timeoutMs ?? 10_000);
  return [
    `    location = ${placeOf(word)} {`,
    "      internal;",
    `      if ($argosy_shadow_${word} = 0) { return 204; }`,
    '      if ($http_upgrade != "") { return 204; }',
    "      proxy_http_version 1.1;",
    '      proxy_set_header Connection "";',
    `      proxy_set_header Host ${shadow.host === undefined ? "$http_host" : `"${shadow.host}"`};`,
    `      proxy_set_header X-Argosy-Shadow "${shadow.name}";`,
    `      proxy_connect_timeout ${time};`,
    `      proxy_send_timeout ${time};`,
    `      proxy_read_timeout ${time};`,
    "      proxy_next_upstream off;",
    "      proxy_ignore_client_abort on;",
    ...nginxTlsLines(head, shadow, "proxy"),
    `      proxy_pass ${shadow.tls === undefined ? "http" : "https"}://s_${word}$request_uri;`,
    "    }",
  ];
}

/** TLS from nginx to a backend or shadow; `kind` is `proxy` or `grpc`. */
export function nginxTlsLines(head: HeadRoute["head"], { tls }: Pick<BackendInput, "tls">, kind: string): string[] {
  if (tls === undefined) return [];
  const { caSecretName, clientSecretName } = head.spec.backendTLS ?? {};
  const authorities = caSecretName === undefined ? SYSTEM_AUTHORITIES : `${TLS_DIRECTORY}/${caSecretName}/ca.crt`;
  return [
    `      ${kind}_ssl_server_name on;`,
    ...(tls.serverName === undefined ? [] : [`      ${kind}_ssl_name ${tls.serverName};`]),
    ...(tls.insecure === true
      ? [`      ${kind}_ssl_verify off;`]
      : [
          `      ${kind}_ssl_verify on;`,
          `      ${kind}_ssl_verify_depth 5;`,
          `      ${kind}_ssl_trusted_certificate ${authorities};`,
        ]),
    ...(clientSecretName === undefined
      ? []
      : [
          `      ${kind}_ssl_certificate ${TLS_DIRECTORY}/${clientSecretName}/tls.crt;`,
          `      ${kind}_ssl_certificate_key ${TLS_DIRECTORY}/${clientSecretName}/tls.key;`,
        ]),
  ];
}
