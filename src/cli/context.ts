import { Command } from "commander";
import type { Terminal } from "./output/terminal.js";

/** What every command is built with. */
export interface CliContext {
  readonly terminal: Terminal;
  /** Sets an exit code other than 0 without an error message. */
  readonly exit: (code: number) => void;
}

/** A command with its examples at the end of its help. */
export function commandWithExamples(name: string, description: string, examples: readonly string[]): Command {
  return new Command(name)
    .description(description)
    .addHelpText("after", `\nExamples:\n${examples.map((example) => `  ${example}`).join("\n")}`);
}

/** Adds the options that choose a cluster. */
export function withConnection(command: Command): Command {
  return command
    .option("--data <dir>", "data directory whose kubeconfig is used", ".argosy")
    .option("--kubeconfig <file>", "another kubeconfig")
    .option("--context <name>", "cluster: hub, cloud, edge, … (default: the kubeconfig's current one)");
}

/** For options that may be given several times. */
export function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}
