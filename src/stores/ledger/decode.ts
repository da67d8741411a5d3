import type { Json } from "../../kernel/kinds/object.js";
import { asObject, asString, parseJson } from "../../kernel/schema/index.js";
import type { Candidate, Decision } from "./types.js";

/** Columns that identify a stored decision; its content is JSON. */
export interface StoredDecision {
  readonly cluster: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly topic: string;
  readonly decision: string;
}

/** Reads a stored decision back; parts that are damaged come out empty rather than failing the query. */
export function parseDecision(row: StoredDecision): Decision {
  const content = asObject(parseJson(row.decision));
  const about = asObject(content["about"]);
  return {
    cluster: row.cluster,
    about: {
      apiVersion: asString(about["apiVersion"]),
      kind: row.kind,
      ...(row.namespace === "" ? {} : { namespace: row.namespace }),
      name: row.name,
    },
    topic: row.topic,
    rule: asString(content["rule"]),
    inputs: asObject(content["inputs"]),
    outcome: asString(content["outcome"]),
    winners: asCandidates(content["winners"]),
    losers: asCandidates(content["losers"]),
  };
}

function asCandidates(value: Json | undefined): Candidate[] {
  return (Array.isArray(value) ? value : []).map((item) => {
    const { name, reason, score } = asObject(item);
    return { name: asString(name), reason: asString(reason), ...(typeof score === "number" ? { score } : {}) };
  });
}
