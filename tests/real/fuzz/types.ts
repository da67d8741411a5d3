import type { Json } from "../../../src/kernel/kinds/object.js";

/** A request of a scenario. Texts may hold `${rv:N}`, `${uid:N}` and `${continue:N}`: what step N was answered. */
export interface Step {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly contentType?: string;
  readonly accept?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: Json;
  /** Sent as it is, instead. */
  readonly raw?: string;
  /** Index that placeholders elsewhere call this step by; shrinking removes steps without renaming them. */
  readonly id: number;
  /** What others presuppose: a recorded case keeps it. */
  readonly setup?: boolean;
  /** Sent only where the step of that id was answered with success. */
  readonly after?: number;
  /** Sent again until it is answered with this status, without this text and with that one (in the body or in warnings), where given. Definitions take their time. */
  readonly until?: { readonly status?: number; readonly without?: string; readonly with?: string };
}

/** Requests that build on each other, made from a seed, in a namespace of their own. */
export interface Scenario {
  readonly seed: number;
  readonly namespace: string;
  readonly steps: readonly Step[];
}

/** What a server said, without what it was free to choose. */
export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly warnings: readonly string[];
  /** JSON where it was JSON, else text. */
  readonly body: Json;
}

/** A step that the two servers answered differently. */
export interface Difference {
  readonly seed: number;
  readonly step: number;
  readonly request: Step;
  readonly expected: Answer;
  readonly got: Answer;
  /** `path: expected …, got …`. */
  readonly lines: readonly string[];
}
