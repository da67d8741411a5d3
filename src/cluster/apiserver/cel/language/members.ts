import { CelEvaluationError } from "../errors.js";
import { LazyObject, memberOf, ObjectValue, Optional, shownValue, typeNameOf, Unsigned } from "./values.js";

/** A member by its name or index; `undefined`: not there. */
export function found(value: unknown, field: unknown): unknown {
  if (value instanceof ObjectValue) return typeof field === "string" ? value.get(field) : undefined;
  if (value instanceof LazyObject) return value.get(String(field));
  if (value instanceof Map) return memberOf(value, field);
  if (Array.isArray(value)) {
    const index = indexOf(field);
    return index < 0n || index >= BigInt(value.length) ? undefined : value[Number(index)];
  }
  if (value instanceof Optional) return value.hasValue ? found(value.value, field) : undefined;
  return undefined;
}

function indexOf(value: unknown): bigint {
  if (typeof value === "bigint") return value;
  if (value instanceof Unsigned) return value.value;
  if (typeof value === "number" && Number.isInteger(value)) return BigInt(value);
  if (typeof value === "number") throw new CelEvaluationError(`unsupported index value ${shownValue(value)} in list`);
  throw new CelEvaluationError(`unsupported index type '${typeNameOf(value)}' in list`);
}

/** A member; throws where it is not there. Of an optional value an optional one. */
export function selected(value: unknown, field: unknown): unknown {
  if (value instanceof Optional) {
    const inner = value.hasValue ? found(value.value, field) : undefined;
    return inner === undefined ? Optional.none : new Optional(inner);
  }
  const member = found(value, field);
  if (member !== undefined) return member;
  throw new CelEvaluationError(`${Array.isArray(value) ? "index out of bounds" : "no such key"}: ${shownValue(field)}`);
}

/** A member, or none. */
export function optional(value: unknown, field: unknown): Optional {
  const member = found(value, field);
  return member === undefined ? Optional.none : new Optional(member);
}
