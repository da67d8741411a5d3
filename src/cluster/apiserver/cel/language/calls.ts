import { CelEvaluationError } from "../errors.js";
import type { Resolved } from "./checker.js";
import type { Overload } from "./environment.js";
import { fits, typeNameOf } from "./values.js";

/** What runs a call whose arguments are known; throws where they fit no overload. */
export function caller({ name, overloads }: Resolved): (values: readonly unknown[]) => unknown {
  const [only] = overloads;
  return only !== undefined && overloads.length === 1 ? single(name, only) : several(name, overloads);
}

function single(name: string, overload: Overload): (values: readonly unknown[]) => unknown {
  const { args } = overload;
  return (values) => {
    for (const [index, type] of args.entries()) if (!fits(type, values[index])) throw mismatch(name, values);
    return overload.run(...values);
  };
}

function several(name: string, overloads: readonly Overload[]): (values: readonly unknown[]) => unknown {
  return (values) => {
    for (const one of overloads)
      if (one.args.every((type, index) => fits(type, values[index]))) return one.run(...values);
    throw mismatch(name, values);
  };
}

const receivers = new Set(["string", "google.protobuf.Timestamp", "google.protobuf.Duration"]);
/** Types whose values know what to do with an operator. */
const ordered = /bool|bytes|double|Duration|int|string|Timestamp/;
const able: Readonly<Record<string, RegExp>> = {
  "_+_": /bytes|double|Duration|int|list|string|Timestamp/,
  "_-_": /double|Duration|int|Timestamp/,
  "_*_": /double|int/,
  "_/_": /double|int/,
  "_%_": /int/,
  "-_": /double|Duration|int/,
  "_<_": ordered,
  "_<=_": ordered,
  "_>_": ordered,
  "_>=_": ordered,
  size: /bytes|list|map|string/,
  matches: /string/,
};
function mismatch(name: string, values: readonly unknown[]): CelEvaluationError {
  const types = values.map(typeNameOf);
  const [first = ""] = types;
  const knows = Object.hasOwn(able, name) ? able[name] : undefined;
  if (knows?.test(first) === true || name === "@in" || name === "!_") return new CelEvaluationError("no such overload");
  if (knows !== undefined)
    return new CelEvaluationError(receivers.has(first) ? "no such overload" : `no such overload: ${name}`);
  return new CelEvaluationError(`no such overload: ${name}(${types.join(", ")})`);
}
