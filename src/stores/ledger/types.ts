import type { JsonObject } from "../../kernel/kinds/object.js";

/** One alternative that a decision weighed. */
export interface Candidate {
  readonly name: string;
  /** Why it won or lost, for people. */
  readonly reason: string;
  readonly score?: number;
}

/** A decision and everything needed to understand it later (design rule 6). */
export interface Decision {
  /** The cluster whose object it is about. */
  readonly cluster: string;
  readonly about: {
    readonly apiVersion: string;
    readonly kind: string;
    readonly namespace?: string;
    readonly name: string;
  };
  /** What was decided on: placement, weight, readiness, scaling, runtime, … */
  readonly topic: string;
  /** The rule in words. */
  readonly rule: string;
  readonly inputs: JsonObject;
  /** One sentence: what was decided. */
  readonly outcome: string;
  readonly winners: readonly Candidate[];
  readonly losers: readonly Candidate[];
}

export interface RecordedDecision extends Decision {
  readonly id: number;
  /** RFC 3339 with milliseconds. */
  readonly time: string;
}

export interface DecisionQuery {
  readonly cluster?: string;
  readonly kind?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly topic?: string;
  /** Newest first; default 50, at most 1000. */
  readonly limit?: number;
}

/** The decision ledger. `record` never throws and never waits: a lost line is counted, not fatal. A decision equal to the last one on the same object and topic is not repeated. */
export interface Ledger {
  record(decision: Decision): void;
  query(query: DecisionQuery): Promise<readonly RecordedDecision[]>;
  /** Resolves when everything recorded so far is durable. */
  flush(): Promise<void>;
  close(): Promise<void>;
}
