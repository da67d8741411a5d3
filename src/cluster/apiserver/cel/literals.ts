import { compilePattern } from "../../../kernel/schema/index.js";
import type { CelNode } from "./engine.unsafe.js";

/** What is wrong at a place of an expression. */
export interface PlacedFault {
  readonly message: string;
  /** Offset in the text. */
  readonly at: number;
}

const timestamp =
  /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
const duration = /^[+-]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)$/;

const isPattern = (text: string): boolean => {
  try {
    compilePattern(text);
    return true;
  } catch {
    return false;
  }
};

const checks: Readonly<Record<string, (text: string) => boolean>> = {
  timestamp: (text) => timestamp.test(text),
  duration: (text) => duration.test(text),
  matches: isPattern,
};

/** The first call whose argument stands in the text and can be none: a time, a duration, a pattern. */
export function literalFault(node: CelNode): PlacedFault | undefined {
  if (node.alternate !== undefined) return literalFault(node.alternate);
  if (node.op === "call" || node.op === "rcall") {
    const name = Array.isArray(node.args) ? String(node.args[0]) : "";
    const last = node.parts.at(-1);
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined;
    if (last?.op === "value" && typeof last.args === "string" && check?.(last.args) === false)
      return { message: `invalid ${name} argument`, at: last.start };
  }
  for (const part of node.parts) {
    const fault = literalFault(part);
    if (fault !== undefined) return fault;
  }
  return undefined;
}
