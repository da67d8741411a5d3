import type { Json, JsonObject } from "../../../src/kernel/kinds/object.js";

/** What two correct servers may answer differently, in texts. */
const inTexts: readonly (readonly [RegExp, string])[] = [
  [/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g, "<uid>"],
  [/\beyJ[\w-]+\.[\w-]+\.[\w-]+/g, "<jwt>"],
  [/-----BEGIN ([A-Z ]+)-----.*?-----END \1-----\n?/gs, "<pem>"],
  [/(resource version: )\d+/g, "$1<rv>"],
  [/(, current: )\d+/g, "$1<rv>"],
  [/(resourceVersion in (?:the )?(?:precondition|object meta|record)[:(]? ?\(?)\w+/gi, "$1<rv>"],
  [/(The range of valid (?:IPs|ports) is )\S+/g, "$1<range>"],
  [/\b(kube-api-access-)[a-z0-9]{5}\b/g, "$1<suffix>"],
  [/\b10\.96\.\d+\.\d+\b/g, "<ip>"],
  [/\b(\d+:)3[0-2]\d{3}(\/(?:TCP|UDP|SCTP))/g, "$1<port>$2"],
  // Types of schemas are called by the moment at which they are compiled.
  [/\bselfType\d+/g, "<self>"],
  // What shows only how a server is written: dumps of its structs, names of its types.
  [/(Invalid value: )"(?:\{\\"|map\[|v1\.)(?:[^"\\]|\\.)*"/g, "$1<object>"],
  [/(Forbidden: [^\n]*)\n.*/gs, "$1"],
  [/(Invalid value: )\{.*\}(?=: )/gs, "$1<object>"],
  [/(Invalid value: )\[\{.*\}\](?=: )/gs, "$1<object>"],
  [/(, got )&?[{v][^\n]*/g, "$1<value>"],
  [/(into Go value of type )\S.*/gs, "$1<type>"],
  [/(in scheme )"[^"]+"/g, "$1<scheme>"],
  [/^\{"keys":\[\{.*$/gs, "<keys>"],
  // Which hooks a server runs at its start is its own affair.
  [/^\[\+\](?:poststarthook\/\S+|autoregister-completion)(?: excluded:)? ok\n/gm, ""],
];
/** Fields of documents in which a server says where it is, which keys it has and what it was built from. */
const ownAffairs: Readonly<Record<string, readonly string[]>> = {
  major: ["gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"],
  serverAddressByClientCIDRs: ["serverAddressByClientCIDRs"],
  jwks_uri: ["issuer", "jwks_uri", "id_token_signing_alg_values_supported"],
};
const time = /\b(20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z/g;

/** Takes out of answers what a server may choose, and keeps all the rest. */
export class Normaliser {
  /** Names made from a generateName stand elsewhere too. */
  readonly #made = new Map<string, string>();

  text(text: string): string {
    let result = text;
    for (const [value, shown] of this.#made) result = result.replaceAll(value, shown);
    for (const [pattern, shown] of inTexts) result = result.replace(pattern, shown);
    return result.replace(time, (whole, moment: string, fraction: string | undefined) => {
      const distance = Math.abs(new Date(`${moment}Z`).getTime() - Date.now());
      return distance < 172_800_000 ? (fraction === undefined ? "<time>" : "<microtime>") : whole;
    });
  }

  body(value: Json): Json {
    this.#learn(value);
    return this.#value(value);
  }

  #learn(value: Json): void {
    if (Array.isArray(value)) for (const inner of value) this.#learn(inner);
    else if (typeof value === "object" && value !== null) {
      const { generateName: prefix, name } = value;
      if (typeof prefix === "string" && typeof name === "string" && prefix !== "" && name.startsWith(prefix))
        this.#made.set(name, `${prefix}<suffix>`);
      for (const inner of Object.values(value)) if (inner !== undefined) this.#learn(inner);
    }
  }

  #value(value: Json): Json {
    if (typeof value === "string") return this.text(value);
    if (Array.isArray(value)) return value.map((inner) => this.#value(inner));
    if (typeof value !== "object" || value === null) return value;
    // The structure is compared elsewhere, the prose not at all.
    if (value["openapi"] !== undefined || value["swagger"] !== undefined) return "<document>";
    const table = value["kind"] === "Table" ? withoutProse(value) : value;
    // A controller's work here, the API server's own there; none runs in a comparison.
    if (value["kind"] === "ResourceQuota") delete table["status"];
    if (value["kind"] === "SelfSubjectRulesReview") orderRules(table);
    hideOwn(table, value);
    const result: JsonObject = {};
    for (const [key, inner] of Object.entries(table))
      if (inner !== undefined) result[this.text(key)] = this.#field(key, inner);
    if (result["kind"] === "Status") orderCauses(result);
    return result;
  }

  #field(key: string, value: Json): Json {
    if (key === "resourceVersion" && typeof value === "string" && value !== "" && value !== "0") return "<rv>";
    if (key === "continue" && typeof value === "string" && value !== "") return "<continue>";
    if ((key === "nodePort" || key === "healthCheckNodePort") && typeof value === "number" && value >= 30_000)
      return "<port>";
    const inner = this.#value(value);
    return key === "managedFields" && Array.isArray(inner) ? byManager(inner) : inner;
  }
}

function hideOwn(table: JsonObject, value: JsonObject): void {
  for (const [mark, fields] of Object.entries(ownAffairs))
    if (value[mark] !== undefined) for (const field of fields) if (table[field] !== undefined) table[field] = "<own>";
}

/** Ages are times; descriptions are prose (see docs/kubernetes-differences.md). */
function withoutProse(table: JsonObject): JsonObject {
  const definitions = table["columnDefinitions"];
  const columns = Array.isArray(definitions)
    ? definitions.map((one) => ({ ...(one as JsonObject), description: "" }))
    : definitions;
  const names = Array.isArray(columns) ? columns.map((one) => textOf((one as JsonObject)["name"])) : [];
  const rows = Array.isArray(table["rows"]) ? (table["rows"] as JsonObject[]) : [];
  return {
    ...table,
    columnDefinitions: columns ?? null,
    rows: rows.map((row) => ({
      ...row,
      cells: (row["cells"] as Json[]).map((cell, index) =>
        /Age|Created At|Last Seen|First Seen|Duration|Last Schedule/i.test(names[index] ?? "") &&
        /^\d/.test(textOf(cell))
          ? "<age>"
          : cell,
      ),
    })),
  };
}

/** Causes of one failure come in any order; the message lists them too. */
function orderCauses(status: JsonObject): void {
  const details = status["details"];
  if (typeof details !== "object" || details === null || Array.isArray(details)) return;
  const causes = details["causes"];
  if (!Array.isArray(causes) || causes.length < 2) return;
  const counts: JsonObject = {};
  for (const cause of causes) counts[asText(cause)] = Number(counts[asText(cause)] ?? 0) + 1;
  details["causes"] = counts;
  const message = textOf(status["message"]);
  status["message"] = message.replace(/( is invalid: |admission webhook.*?: )\[.*$/s, "$1<causes>");
}

/** Rules come in any order. */
function orderRules(review: JsonObject): void {
  const { status } = review;
  if (typeof status !== "object" || status === null || Array.isArray(status)) return;
  for (const [field, rules] of Object.entries(status))
    if (Array.isArray(rules)) status[field] = rules.toSorted((a, b) => (asText(a) < asText(b) ? -1 : 1));
}

/** Managers come in any order where they wrote at the same time. */
function byManager(entries: readonly Json[]): Json {
  const result: JsonObject = {};
  for (const entry of entries) {
    const { manager, operation, subresource, apiVersion, ...rest } = entry as JsonObject;
    const name = [manager, operation, subresource, apiVersion].map(String).join(" ");
    result[result[name] === undefined ? name : `${name} again`] = rest;
  }
  return result;
}

const textOf = (value: Json | undefined): string => (typeof value === "string" ? value : "");

const asText = (value: Json): string => JSON.stringify(value, (_, inner: unknown) => ordered(inner));

function ordered(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
