import { Command } from "commander";
import { InputError } from "../../kernel/errors/index.js";
import { type CliContext, commandWithExamples } from "../context.js";

const scripts = {
  bash: `_argosy() { mapfile -t COMPREPLY < <(argosy __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null); }
complete -o default -F _argosy argosy
`,
  zsh: `#compdef argosy
_argosy() { local -a words_; words_=("\${(@f)$(argosy __complete -- "\${words[@]:1}" 2>/dev/null)}"); compadd -- $words_ }
compdef _argosy argosy
`,
  fish: `complete -c argosy -f -a '(argosy __complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
`,
} as const;

/** `argosy completion SHELL` prints a script for the shell; the hidden `__complete` answers it. */
export function completionCommand({ terminal }: CliContext, program: Command): Command {
  program.addCommand(
    new Command("__complete").argument("[words...]").action((words: string[]) => {
      terminal.out(
        complete(program, words)
          .map((word) => `${word}\n`)
          .join(""),
      );
    }),
    { hidden: true },
  );
  return commandWithExamples("completion", "Print a completion script for a shell.", [
    "source <(argosy completion bash)",
    "argosy completion zsh > ~/.zfunc/_argosy",
    "argosy completion fish > ~/.config/fish/completions/argosy.fish",
  ])
    .argument("<shell>", Object.keys(scripts).join(" | "))
    .action((shell: string) => {
      const script = shell === "bash" || shell === "zsh" || shell === "fish" ? scripts[shell] : undefined;
      if (script === undefined) {
        throw new InputError(`no completion for ${JSON.stringify(shell)}: use ${Object.keys(scripts).join(", ")}`);
      }
      terminal.out(script);
    });
}

/** What can stand at the place of the last word, given the words before it. */
export function complete(program: Command, words: readonly string[]): string[] {
  const last = words.at(-1) ?? "";
  if (words[0] === "completion" && words.length === 2) {
    return Object.keys(scripts).filter((name) => name.startsWith(last));
  }
  const command = words.length > 1 ? program.commands.find((candidate) => candidate.name() === words[0]) : undefined;
  const candidates =
    command !== undefined
      ? command.options.flatMap((option) => option.long ?? [])
      : program.commands.map((candidate) => candidate.name()).filter((name) => !name.startsWith("__"));
  return candidates.filter((candidate) => candidate.startsWith(last)).sort();
}
