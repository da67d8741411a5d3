import { InputError } from "../../kernel/errors/index.js";
import type { Level } from "../../kernel/module/types.js";

const levels = ["continuum", "cluster", "node"] as const;

/** The levels as help and completion name them. */
export const levelNames: readonly Level[] = levels;

/** Reads `--level`. Throws `InputError`. */
export function parseLevel(text: string): Level {
  const level = levels.find((known) => known === text);
  if (level === undefined) {
    throw new InputError(
      `--level ${JSON.stringify(text)}: there are continuum (the hub), cluster (a member) and node (this machine)`,
    );
  }
  return level;
}

/** Reads `HOST:PORT`, `:PORT` (loopback) or `[::1]:PORT`; port 0 takes any free one. Throws `InputError`. */
export function parseListen(option: string, text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new InputError(`${option} ${JSON.stringify(text)} is no HOST:PORT, for instance 127.0.0.1:8081`);
  }
  const host = match[1] ?? match[2] ?? "";
  return { host: host === "" ? "127.0.0.1" : host, port };
}

/** Reads `true` or `false`. Throws `InputError`. */
export function parseBoolean(option: string, text: string): boolean {
  if (text !== "true" && text !== "false") {
    throw new InputError(`${option} ${JSON.stringify(text)}: say true or false`);
  }
  return text === "true";
}

/** Reads names separated by commas; `undefined` stays. */
export function parseNames(text: string | undefined): string[] | undefined {
  return text
    ?.split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
}
