import { compilePattern } from "../../../../kernel/schema/index.js";
import { CelEvaluationError } from "../errors.js";

/** A pattern; throws in the words of Go's parser of patterns. */
export function patternOf(pattern: string): RegExp {
  try {
    return compilePattern(pattern);
  } catch {
    throw new CelEvaluationError(`error parsing regexp: ${patternFault(pattern)}`);
  }
}

/** What Go says of the commonest faults of patterns. */
function patternFault(pattern: string): string {
  const repeated = /(?:^|[(|])([*+?])/.exec(pattern);
  if (repeated !== null) return `missing argument to repetition operator: \`${repeated[1] ?? ""}\``;
  if (/^[^[\]]*\[[^\]]*$/.test(pattern)) return `missing closing ]: \`${pattern.slice(pattern.indexOf("["))}\``;
  if (pattern.endsWith("\\")) return "trailing backslash at end of expression: ``";
  if (/\)/.test(pattern) && !/\(/.test(pattern)) return `unexpected ): \`${pattern}\``;
  return `missing closing ): \`${pattern}\``;
}
