/** Patterns of header names that go on to steps. */
import { InputError } from "../../kernel/errors/index.js";
import { compilePattern } from "../../kernel/schema/index.js";

const MAX_LENGTH = 200;
/** Each one more multiplies the time by the length of a name. */
const MAX_REPETITIONS = 2;
/** And these double it. */
const MAX_OPTIONS = 6;

/** Why a pattern is not taken: it is none, or could take very long on a name that a client chose. */
export function isRisky(pattern: string): string | undefined {
  if (pattern.length > MAX_LENGTH) return `is longer than ${MAX_LENGTH} characters`;
  // A repetition of what itself repeats, or can be read in several ways, is what makes matching explode.
  if (/\)[*+{]/.test(pattern) || /\\\d/.test(pattern) || /\(\?[=!<]/.test(pattern))
    return "repeats a group or looks around; write it plainer";
  if ((pattern.match(/[*+{]/g) ?? []).length > MAX_REPETITIONS)
    return `repeats more than ${MAX_REPETITIONS} times; write it plainer`;
  if ((pattern.match(/(?<!\()\?/g) ?? []).length > MAX_OPTIONS)
    return `has more than ${MAX_OPTIONS} optional parts; write it plainer`;
  try {
    compilePattern(pattern);
    return undefined;
  } catch (error) {
    if (error instanceof InputError) return "is no regular expression";
    throw error;
  }
}

/** Of one message, or written anew for each. */
const NEVER = new Set([
  ...["host", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "content-length", "te", "trailer"],
  ...["upgrade", "expect", "proxy-authorization", "proxy-authenticate", "accept-encoding"],
]);
/** About the body, or the request as a whole. */
const OWN = new Set(["content-type", "content-encoding", "inference-header-content-length", "x-request-timeout-ms"]);
const MAX_NAME = 100;

/** Which of a request's fields go on to every step. Names are looked at as `Foo-Bar`, case ignored, anywhere in the name. Throws `InputError`. */
export function createPropagation(
  patterns: readonly string[],
): (fields: ReadonlyMap<string, string>) => Record<string, string> {
  const compiled = patterns.map((pattern) => {
    const fault = isRisky(pattern);
    if (fault !== undefined) throw new InputError(`header pattern ${JSON.stringify(pattern)} ${fault}`);
    const { source, flags } = compilePattern(pattern);
    return new RegExp(source, flags.includes("i") ? flags : `${flags}i`);
  });
  return (fields) => {
    const kept: Record<string, string> = {};
    if (compiled.length === 0) return kept;
    for (const [name, value] of fields) {
      if (NEVER.has(name) || OWN.has(name) || name.length > MAX_NAME) continue;
      if (compiled.some((pattern) => pattern.test(name))) kept[name] = value;
    }
    return kept;
  };
}
