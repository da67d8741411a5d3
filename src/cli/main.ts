import { Command, CommanderError } from "commander";
import { ApiError, messageOf } from "../kernel/errors/index.js";
import { agentCommand } from "./agent/commands.js";
import { clustersCommand } from "./clusters/commands.js";
import { completionCommand } from "./completion/completion.js";
import { explainCommand } from "./decision/explain.js";
import { whatIfCommand } from "./decision/what-if.js";
import { exitCode, exitCodeOf, isClockFault, isRefusedConnection } from "./errors.js";
import { colours, processTerminal, type Terminal } from "./output/terminal.js";
import { platformCommands } from "./platform/commands.js";
import { programCommands } from "./program/commands.js";
import { resourceCommands } from "./resource/commands.js";
import { rolloutCommands } from "./rollout/commands.js";
import { startCommand } from "./start/command.js";

/** Runs the command line of this process and sets its exit code. */
export async function runMain(words: readonly string[]): Promise<void> {
  // The clock's timers do not keep a process alive; a command that waits for one must.
  const hold = setInterval(() => undefined, 2 ** 30);
  try {
    process.exitCode = await runCli(words, processTerminal());
  } finally {
    clearInterval(hold);
  }
}

/** Runs one command line; never throws. Returns the exit code. */
export async function runCli(words: readonly string[], terminal: Terminal): Promise<number> {
  let code: number = exitCode.ok;
  const program = createProgram(terminal, (result) => {
    code = result;
  });
  try {
    await program.parseAsync(isVersionAsked(words) ? ["version"] : words, { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) {
      return error.exitCode === 0 ? exitCode.ok : exitCode.usage;
    }
    const paint = colours(terminal);
    const reason = error instanceof ApiError ? ` (${error.status.reason})` : "";
    const hint = isRefusedConnection(error)
      ? "\nnothing listens there: Argosy does not run (`argosy status`); `argosy up` or `argosy start` starts it"
      : isClockFault(error)
        ? "\ncompare the clocks of this machine and of that one; if they agree, the certificate has to be renewed"
        : "";
    terminal.err(`${paint.red("error:")} ${messageOf(error)}${reason}${hint}\n`);
    if (terminal.env["ARGOSY_DEBUG"] !== undefined && error instanceof Error) {
      terminal.err(`${error.stack ?? ""}\n`);
    }
    return exitCodeOf(error);
  }
}

/** As people ask any program. */
function isVersionAsked([first = "", ...more]: readonly string[]): boolean {
  return more.length === 0 && (first === "--version" || first === "-V");
}

/** The whole command tree; also what help and completion are made from. */
export function createProgram(terminal: Terminal, exit: (code: number) => void): Command {
  const program = new Command("argosy")
    .description("One machine-learning platform over every cluster a team has.")
    .configureOutput({ writeOut: (text) => terminal.out(text), writeErr: (text) => terminal.err(text) })
    // What stands after the name of a subcommand is its own: `agent` and `agent rbac` both have a --level.
    .enablePositionalOptions()
    .option("-V, --version", "print the versions, as `argosy version` does")
    .showSuggestionAfterError(true)
    .showHelpAfterError("(add --help for usage and examples)")
    .addHelpText(
      "after",
      "\nExamples:\n  argosy start                 bring up the fleet and run the digits example\n  argosy up --detach           bring up hub and members in the background\n  argosy get hmls -A           look at HyperMLServices in the hub\n  argosy explain hmls/digits   why the system decided as it did",
    );
  const context = { terminal, exit };
  for (const command of [
    startCommand(context),
    ...platformCommands(context),
    ...resourceCommands(context),
    clustersCommand(context),
    ...rolloutCommands(context),
    explainCommand(context),
    whatIfCommand(context),
    agentCommand(context),
    ...programCommands(context),
  ]) {
    program.addCommand(command);
  }
  program.addCommand(completionCommand(context, program));
  inherit(program, program);
  return program;
}

/** Subcommands speak and end as the program does. */
function inherit(command: Command, program: Command): void {
  command.exitOverride().copyInheritedSettings(program);
  for (const part of command.commands) {
    inherit(part, program);
  }
}
