import type { Decision } from "./types.js";

/** Objects and topics whose last decision is remembered; beyond that the oldest is forgotten, and may then be recorded twice. */
const MAX_REMEMBERED = 20_000;

/** Tells a decision from a repetition of the last one on the same object and topic. */
export interface Dedupe {
  /** Whether this differs from the last; remembers it if so. */
  isNew(decision: Decision): boolean;
  /** Notes what was recorded before this process began. */
  remember(decision: Decision): void;
}

export function createDedupe(): Dedupe {
  const last = new Map<string, string>();
  const remember = (decision: Decision): boolean => {
    const subject = subjectOf(decision);
    const content = contentOf(decision);
    const known = last.get(subject);
    last.delete(subject);
    last.set(subject, content);
    if (last.size > MAX_REMEMBERED) {
      for (const oldest of last.keys()) {
        last.delete(oldest);
        break;
      }
    }
    return known !== content;
  };
  return { isNew: remember, remember: (decision) => void remember(decision) };
}

function subjectOf({ cluster, about, topic }: Decision): string {
  return JSON.stringify([cluster, about.apiVersion, about.kind, about.namespace ?? "", about.name, topic]);
}

function contentOf({ rule, inputs, outcome, winners, losers }: Decision): string {
  return JSON.stringify([rule, sorted(inputs), outcome, sorted(winners), sorted(losers)]);
}

/** The order of an object's members says nothing. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, sorted(member)]),
  );
}
