/** Reading the parameters of text requests. Every fault is a 400 `HttpError` that names the parameter. */
import { HttpError } from "../../../kernel/http1/index.js";
import { didYouMean } from "../../../kernel/schema/index.js";
import { describe, type ExactJson } from "../../../kernel/tensors/index.js";

/** A request's object. */
export type Params = { readonly [name: string]: ExactJson };

/** A fault of a request that can say which parameter it is about. */
export class ParamError extends HttpError {
  readonly param: string;

  constructor(param: string, message: string) {
    super(400, message);
    this.param = param;
  }
}

const given = (params: Params, name: string): ExactJson | undefined => {
  const value = Object.hasOwn(params, name) ? params[name] : undefined;
  return value === null ? undefined : value;
};

/** A number within bounds. */
export function numberParam(
  params: Params,
  name: string,
  { low, high, whole = false }: { low: number; high: number; whole?: boolean },
): number | undefined {
  const value = given(params, name);
  if (value === undefined) return undefined;
  if (typeof value !== "number" || value < low || value > high || (whole && !Number.isInteger(value)))
    throw new ParamError(
      name,
      `${name} is ${describe(value)}; expected ${whole ? "a whole number" : "a number"} from ${low} to ${high}`,
    );
  return value;
}

/** True or false; absent: `undefined`. */
export function flagParam(params: Params, name: string): boolean | undefined {
  const value = given(params, name);
  if (value !== undefined && typeof value !== "boolean")
    throw new ParamError(name, `${name} is ${describe(value)}; expected true or false`);
  return value;
}

/** A text. */
export function textParam(params: Params, name: string): string | undefined {
  const value = given(params, name);
  if (value !== undefined && typeof value !== "string")
    throw new ParamError(name, `${name} is ${describe(value)}; expected text`);
  return value;
}

const MAX_STOPS = 16;
const MAX_STOP_LENGTH = 1000;

/** A text or a list of texts at which the answer ends. */
export function stopParam(params: Params, name = "stop"): string[] {
  const value = given(params, name);
  if (value === undefined) return [];
  const list = Array.isArray(value) ? value : [value];
  if (list.length > MAX_STOPS)
    throw new ParamError(name, `${name} has ${list.length} entries; at most ${MAX_STOPS} are taken`);
  return list.map((each) => {
    if (typeof each !== "string" || each.length > MAX_STOP_LENGTH)
      throw new ParamError(name, `${name} must be text, or a list of texts, of at most ${MAX_STOP_LENGTH} characters`);
    return each;
  });
}

/** A seed: a whole number. */
export const seedParam = (params: Params, name = "seed"): number | undefined =>
  numberParam(params, name, { low: Number.MIN_SAFE_INTEGER, high: Number.MAX_SAFE_INTEGER, whole: true });

/** Refuses what is neither known nor given as `null`. */
export function refuseUnknown(params: Params, known: ReadonlySet<string>): void {
  for (const name of Object.keys(params)) {
    if (known.has(name) || given(params, name) === undefined) continue;
    const meant = didYouMean(name, known);
    const hint = meant === undefined ? "" : `; did you mean ${JSON.stringify(meant)}?`;
    throw new ParamError(name, `parameter ${JSON.stringify(name.slice(0, 60))} is not known here${hint}`);
  }
}
