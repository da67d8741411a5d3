import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ApiServer, createApiServer } from "../src/cluster/apiserver/index.js";
import { seededRandom, systemClock } from "../src/kernel/clock/index.js";
import type { Json, JsonObject } from "../src/kernel/kinds/object.js";
import { silentLogger } from "../src/kernel/log/index.js";

/** A request with the answer that `identity/record.mjs` recorded on a real kube-apiserver. Tokens of earlier answers are called by name. */
interface Case {
  readonly method: string;
  readonly path: string;
  /** The token to send; default: an administrator's. */
  readonly as?: string;
  readonly body?: JsonObject;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** The name under which the token in the answer is kept. */
  readonly keep?: string;
  readonly status: number;
  readonly answer: Json;
}

const cases = JSON.parse(
  readFileSync(new URL("identity/kubernetes-1.34.4.data.json", import.meta.url), "utf8"),
) as readonly Case[];
const adminToken = "administrator-0123456789";
const tokens = new Map([["$admin", adminToken]]);

let server: ApiServer;
beforeAll(async () => {
  server = await createApiServer({
    clusterName: "identity",
    clock: systemClock,
    random: seededRandom(1),
    log: silentLogger,
    serviceCidr: "198.19.0.0/24",
    authorization: "rbac",
    tokens: [{ token: adminToken, user: { username: "token-admin", uid: "token-admin", groups: ["system:masters"] } }],
  });
});
afterAll(() => server.close());

const filled = (text: string) => text.replace(/\$[a-z]+/g, (name) => tokens.get(name) ?? name);

async function ask({ method, path, as, body, headers }: Case): Promise<{ status: number; answer: Json }> {
  const [place = "", query = ""] = path.split("?");
  const token = as === undefined ? adminToken : filled(as);
  const single: Record<string, string> = { "content-type": "application/json" };
  const repeated: Record<string, readonly string[]> = {};
  for (const [name, value] of Object.entries(headers ?? {})) {
    single[name.toLowerCase()] = typeof value === "string" ? value : value.join(", ");
    if (typeof value !== "string" && value.length > 1) repeated[name.toLowerCase()] = value;
  }
  if (token !== "") single["authorization"] = `Bearer ${token}`;
  const response = await server.handle({
    method,
    path: place,
    query: new URLSearchParams(query),
    headers: single,
    repeatedHeaders: repeated,
    body: body === undefined ? new Uint8Array() : Buffer.from(filled(JSON.stringify(body))),
    signal: new AbortController().signal,
  });
  if (!(response.body instanceof Uint8Array)) return { status: response.status, answer: null };
  const text = Buffer.from(response.body).toString();
  try {
    return { status: response.status, answer: JSON.parse(text) as Json };
  } catch {
    return { status: response.status, answer: text };
  }
}

/** Without what is the server's own; rules and roles come in an order that is nobody's. */
function comparable(answer: Json): Json {
  const text = JSON.stringify(answer, (name, value: unknown) => {
    if (name === "managedFields" || name === "resourceVersion") return undefined;
    if ((name === "resourceRules" || name === "nonResourceRules") && Array.isArray(value))
      return value.map((rule) => JSON.stringify(rule, Object.keys((rule ?? {}) as object).toSorted())).toSorted();
    return value;
  });
  const plain = text
    .replaceAll(adminToken, "$admin")
    .replace(/eyJ[\w.-]+/g, "$token")
    .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "$uid")
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, "$time")
    .replace(/system:(discovery|public-info-viewer)/g, "system:discovery or public-info-viewer");
  return JSON.parse(plain) as Json;
}

test.each(cases.map((one, index) => [index, one.method, one.path, one] as const))(
  "#%i %s %s is answered as by a real server",
  async (_index, _method, _path, one) => {
    const { status, answer } = await ask(one);
    if (one.keep !== undefined)
      tokens.set(one.keep, (answer as { status?: { token?: string } }).status?.token ?? "none was issued");

    expect({ status, answer: comparable(answer) }).toEqual({ status: one.status, answer: comparable(one.answer) });
  },
);
