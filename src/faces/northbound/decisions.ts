import type { HttpRoute } from "../../kernel/module/types.js";
import type { DecisionQuery, Ledger } from "../../stores/ledger/index.js";

const TEXT_PARAMETERS = ["cluster", "kind", "namespace", "name", "topic"] as const;

/**
 * `GET /argosy/v1/decisions?cluster=&kind=&namespace=&name=&topic=&limit=` answers `{decisions: RecordedDecision[]}`, newest
 * first. Needs `list` on `decisions.argosy.dev`.
 */
export function decisionRoutes(ledger: Ledger): HttpRoute[] {
  return [
    {
      method: "GET",
      path: "/argosy/v1/decisions",
      permission: { verb: "list", group: "argosy.dev", resource: "decisions" },
      handle: async ({ query }) => {
        const parsed = parseQuery(query);
        if (typeof parsed === "string") return json(400, { error_code: "INVALID_PARAMETER_VALUE", message: parsed });
        return json(200, { decisions: await ledger.query(parsed) });
      },
    },
  ];
}

/** The query, or what is wrong with it. */
function parseQuery(query: URLSearchParams): DecisionQuery | string {
  const known = new Set<string>([...TEXT_PARAMETERS, "limit"]);
  const unknown = [...query.keys()].find((name) => !known.has(name));
  if (unknown !== undefined) return `unknown parameter "${unknown}"; known are ${[...known].join(", ")}`;
  const texts: Partial<Record<(typeof TEXT_PARAMETERS)[number], string>> = {};
  for (const name of TEXT_PARAMETERS) {
    const value = query.get(name);
    if (value !== null) texts[name] = value;
  }
  const limit = query.get("limit");
  if (limit === null) return texts;
  const number = Number(limit);
  return Number.isInteger(number) && number >= 1 && number <= 1000
    ? { ...texts, limit: number }
    : `limit must be a whole number from 1 to 1000, not "${limit}"`;
}

function json(status: number, body: unknown): { status: number; headers: Record<string, string>; body: string } {
  return { status, headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}
