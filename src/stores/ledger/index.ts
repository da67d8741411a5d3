/**
 * The decision ledger: what the platform decided, on which inputs, by which rule, with winners and losers.
 *
 * In: decisions, from any controller, without waiting. Out: the latest ones that fit a query. May use: kernel, stores/records.
 */
export { memoryLedger } from "./memory.js";
export { openLedger, type RecordsLedger, type RecordsLedgerOptions } from "./records-ledger.js";
export type { Candidate, Decision, DecisionQuery, Ledger, RecordedDecision } from "./types.js";
