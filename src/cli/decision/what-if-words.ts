import { InputError } from "../../kernel/errors/index.js";
import type { TaintChange } from "../../modules/fleet/index.js";

/** Reads `KEY[=VALUE]:EFFECT`, or `KEY[:EFFECT]-` for one that goes. Throws `InputError`. */
export function parseTaint(word: string): TaintChange {
  const isRemoval = word.endsWith("-");
  const [left = "", effectWord, ...more] = (isRemoval ? word.slice(0, -1) : word).split(":");
  const [key = "", value, ...rest] = left.split("=");
  const effect = (["NoSchedule", "NoExecute"] as const).find((one) => one === effectWord);
  const isWhole = isRemoval ? effectWord === undefined || effect !== undefined : effect !== undefined;
  if (key === "" || more.length > 0 || rest.length > 0 || !isWhole)
    throw new InputError(
      `${JSON.stringify(word)} is no taint of a cluster: write KEY[=VALUE]:NoSchedule, KEY[=VALUE]:NoExecute or KEY-`,
    );
  return { key, isRemoval, ...(value === undefined ? {} : { value }), ...(effect === undefined ? {} : { effect }) };
}

/** Reads `KEY=VALUE`, or `KEY-` for one that goes. Throws `InputError`. */
export function parseLabel(word: string): readonly [string, string | null] {
  const cut = word.indexOf("=");
  if (cut > 0) return [word.slice(0, cut), word.slice(cut + 1)];
  if (cut < 0 && word.length > 1 && word.endsWith("-")) return [word.slice(0, -1), null];
  throw new InputError(`${JSON.stringify(word)} is no label: write KEY=VALUE, or KEY- to take it away`);
}
