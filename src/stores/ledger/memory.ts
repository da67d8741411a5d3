import type { Clock } from "../../kernel/clock/index.js";
import { createDedupe } from "./dedupe.js";
import type { DecisionQuery, Ledger, RecordedDecision } from "./types.js";

/** Decisions kept when no other number is given. */
export const DEFAULT_QUERY_LIMIT = 50;
/** Most decisions that one query returns. */
export const MAX_QUERY_LIMIT = 1000;

/** A ledger that forgets everything with the process; for tests and simulations. Keeps the newest 10,000 decisions. */
export function memoryLedger({ clock }: { readonly clock: Clock }): Ledger {
  const dedupe = createDedupe();
  const kept: RecordedDecision[] = [];
  let id = 0;
  return {
    record: (decision) => {
      if (!dedupe.isNew(decision)) return;
      kept.push({ ...decision, id: ++id, time: new Date(clock.now()).toISOString() });
      if (kept.length > 10_000) kept.shift();
    },
    query: async (query) => {
      const found = kept.filter((decision) => fits(decision, query)).reverse();
      return found.slice(0, limitOf(query));
    },
    flush: async () => {},
    close: async () => {},
  };
}

/** How many decisions a query may return. */
export function limitOf(query: DecisionQuery): number {
  return Math.max(1, Math.min(query.limit ?? DEFAULT_QUERY_LIMIT, MAX_QUERY_LIMIT));
}

function fits(decision: RecordedDecision, query: DecisionQuery): boolean {
  const { cluster, about, topic } = decision;
  return (
    (query.cluster ?? cluster) === cluster &&
    (query.kind ?? about.kind) === about.kind &&
    (query.namespace ?? about.namespace ?? "") === (about.namespace ?? "") &&
    (query.name ?? about.name) === about.name &&
    (query.topic ?? topic) === topic
  );
}
