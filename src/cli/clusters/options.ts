import type { Command } from "commander";
import { InputError } from "../../kernel/errors/index.js";
import { collect, withConnection } from "../context.js";

/** Options that say where a cluster is. */
export interface PlaceOptions {
  readonly region?: string;
  readonly provider?: string;
  readonly zone: readonly string[];
  readonly label: readonly string[];
}

/** Adds them, and those that choose the hub. */
export function withPlace(command: Command): Command {
  return withConnection(command)
    .option("--region <name>", "where it is")
    .option("--provider <name>", "who runs it")
    .option("--zone <name>", "a zone of its nodes (repeatable)", collect, [])
    .option("--label <key=value>", "a label of the cluster (repeatable)", collect, []);
}

/** Where a cluster is. */
export function placeOf({ region, provider, zone }: PlaceOptions): {
  readonly zones: readonly string[];
  readonly region?: string;
  readonly provider?: string;
} {
  return {
    zones: zone,
    ...(region === undefined ? {} : { region }),
    ...(provider === undefined ? {} : { provider }),
  };
}

/** Reads a number of seconds. Throws `InputError`. */
export function secondsOf(option: string, text: string): number {
  const seconds = Number(text);
  if (text === "" || !Number.isFinite(seconds) || seconds < 0)
    throw new InputError(`${option} ${JSON.stringify(text)} is no number of seconds`);
  return seconds;
}

/** Reads `KEY=VALUE` words. Throws `InputError`. */
export function labelsOf(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const at = word.indexOf("=");
      if (at < 1) throw new InputError(`--label ${JSON.stringify(word)}: write KEY=VALUE`);
      return [word.slice(0, at), word.slice(at + 1)];
    }),
  );
}
