import type { Command, Option } from "commander";

/** A command line up to the word that is being completed. */
export interface Line {
  /** The command that the words so far lead to. */
  readonly command: Command;
  /** Its arguments so far, without the word in the making. */
  readonly operands: readonly string[];
  /** Values of its options so far, by attribute name (`context`, `output`, …). */
  readonly options: Readonly<Record<string, string>>;
  /** What is being typed. */
  readonly current: string;
  /** The option whose value `current` is. */
  readonly option: Option | undefined;
  /** What stands before the value in the same word: `--output=`. */
  readonly prefix: string;
}

/** What the words so far say. */
interface Reading {
  command: Command;
  readonly operands: string[];
  readonly options: Record<string, string>;
  /** The option whose value comes next. */
  waiting: Option | undefined;
}

/** Reads a command line; the last word is the one in the making. Shells that split at `=` are understood too. */
export function readLine(program: Command, words: readonly string[]): Line {
  const joined = joinEquals(words);
  const last = joined.at(-1) ?? "";
  const reading: Reading = { command: program, operands: [], options: {}, waiting: undefined };
  for (const word of joined.slice(0, -1)) {
    readWord(reading, word);
  }
  const { command, operands, options, waiting } = reading;
  const [, prefix = "", value = ""] = (waiting === undefined ? /^(--[^=]+=)(.*)$/s.exec(last) : null) ?? [];
  const named = prefix === "" ? undefined : findOption(command, prefix.slice(0, -1));
  const place = named === undefined ? { current: last, prefix: "" } : { current: value, prefix };
  return { command, operands, options, option: waiting ?? named, ...place };
}

function readWord(reading: Reading, word: string): void {
  if (reading.waiting !== undefined) {
    reading.options[reading.waiting.attributeName()] = word;
    reading.waiting = undefined;
  } else if (word.startsWith("-") && word !== "-") {
    reading.waiting = readOption(reading, word);
  } else {
    const inner = reading.operands.length === 0 ? subcommand(reading.command, word) : undefined;
    if (inner === undefined) reading.operands.push(word);
    else reading.command = inner;
  }
}

/** bash makes three words of `--output=json`. */
function joinEquals(words: readonly string[]): string[] {
  const joined: string[] = [];
  for (const [index, word] of words.entries()) {
    const before = joined.at(-1);
    const isEquals = word === "=" && before?.startsWith("--") === true && !before.includes("=");
    const isValue = before?.startsWith("--") === true && before.endsWith("=") && words[index - 1] === "=";
    if ((isEquals || isValue) && before !== undefined) joined[joined.length - 1] = `${before}${word}`;
    else joined.push(word);
  }
  return joined;
}

/** Takes an option's value out of its own word; returns the option when the next word is its value. */
function readOption({ command, options }: Reading, word: string): Option | undefined {
  const [, name = word, value] = /^(--[^=]+)=(.*)$/s.exec(word) ?? [];
  const short = name.startsWith("--") ? name : name.slice(0, 2);
  const option = findOption(command, short);
  if (option === undefined || option.isBoolean()) return undefined;
  const attached = value ?? (short === name ? undefined : name.slice(2));
  if (attached === undefined) return option;
  options[option.attributeName()] = attached;
  return undefined;
}

function findOption(command: Command, name: string): Option | undefined {
  return command.options.find((option) => option.long === name || option.short === name);
}

/** A visible command right below another. */
export function subcommand(command: Command, name: string): Command | undefined {
  return subcommands(command).find((inner) => inner.name() === name || inner.aliases().includes(name));
}

/** The visible commands right below another. */
export function subcommands(command: Command): Command[] {
  return command.commands.filter((inner) => !inner.name().startsWith("__"));
}
