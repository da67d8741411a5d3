import { type ParseArgsConfig, parseArgs } from "node:util";
import { InputError, messageOf } from "../errors/index.js";
import type { Program } from "./program.js";

type Options = NonNullable<ParseArgsConfig["options"]>;
type Values<T extends Options> = ReturnType<typeof parseArgs<{ readonly options: T }>>["values"];

/** The flags of a program, by the options of `node:util`'s `parseArgs`. Throws `InputError` for what is none of them. */
export function readFlags<T extends Options>(args: readonly string[], options: T): Values<T> {
  try {
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    throw new InputError(`${messageOf(error)}; --help lists what there is`, { cause: error });
  }
}

/** A flag's value as a whole number within bounds. Throws `InputError`. */
export function readWhole(
  flag: string,
  text: string | undefined,
  [least, most]: readonly [least: number, most: number],
): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text === "" || !Number.isSafeInteger(value) || value < least || value > most)
    throw new InputError(`--${flag} is "${text}"; expected a whole number from ${least} to ${most}`);
  return value;
}

/** Where traces go: what the flag says, or OpenTelemetry's environment; `undefined`: nowhere. Throws `InputError`. */
export function readCollector(flag: string | undefined, env: Program["env"]): string | undefined {
  const base = env["OTEL_EXPORTER_OTLP_ENDPOINT"] ?? "";
  const fromBase = base === "" ? undefined : `${base.replace(/\/$/, "")}/v1/traces`;
  const endpoint = flag ?? env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] ?? fromBase;
  if (endpoint === undefined || endpoint === "") return undefined;
  if (!/^https?:\/\//.test(endpoint) || !URL.canParse(endpoint))
    throw new InputError(`the address of the traces' collector is "${endpoint}"; expected http:// or https://`);
  return endpoint;
}
