import { Command } from "commander";
import { InputError } from "../../kernel/errors/index.js";
import { type CliContext, commandWithExamples } from "../context.js";
import type { ConnectionOptions } from "../session.js";
import { candidatesFor } from "./candidates.js";
import { type ClusterNames, clusterNames } from "./cluster.js";
import { readLine } from "./line.js";

/** Instead of words: a file of the machine is wanted. */
const filesMark = ":files";

const scripts = {
  bash: `_argosy() {
  local cur words cword
  if declare -F _get_comp_words_by_ref >/dev/null; then
    _get_comp_words_by_ref -n : cur words cword
  else
    words=("\${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=\${COMP_WORDS[COMP_CWORD]}
  fi
  mapfile -t COMPREPLY < <(argosy __complete -- "\${words[@]:1:cword}" 2>/dev/null)
  if [[ \${COMPREPLY[0]-} == ${filesMark} ]]; then
    COMPREPLY=(); compopt -o default
    return
  fi
  if [[ \${#COMPREPLY[@]} -eq 1 && \${COMPREPLY[0]} == */ ]]; then compopt -o nospace; fi
  if declare -F __ltrim_colon_completions >/dev/null; then __ltrim_colon_completions "$cur"; fi
}
complete -F _argosy argosy
`,
  zsh: `#compdef argosy
_argosy() {
  local -a found open closed
  found=("\${(@f)$(argosy __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ \${found[1]} == ${filesMark} ]]; then
    _files
    return
  fi
  open=(\${(M)found:#*/}); closed=(\${found:#*/})
  (( \${#closed} )) && compadd -- $closed
  (( \${#open} )) && compadd -S '' -- $open
}
compdef _argosy argosy
`,
  fish: `function __argosy_complete
  set -l words (commandline -opc)
  set -l current (commandline -ct)
  set -l found (argosy __complete -- $words[2..] "$current" 2>/dev/null)
  if test "$found[1]" = ${filesMark}
    __fish_complete_path "$current"
  else
    printf '%s\\n' $found
  end
end
complete -c argosy -f -a '(__argosy_complete)'
`,
} as const;

/** `argosy completion SHELL` prints a script for the shell; the hidden `__complete` answers it. */
export function completionCommand({ terminal }: CliContext, program: Command): Command {
  program.addCommand(
    new Command("__complete").argument("[words...]").action(async (words: string[]) => {
      terminal.out((await complete(program, words)).map((word) => `${word}\n`).join(""));
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

/**
 * What can stand in place of the last word, given the words before it; `:files` alone where a file of the machine is wanted. Types, names,
 * namespaces and contexts come from the cluster that the line names; without one that answers soon there are none.
 */
export async function complete(
  program: Command,
  words: readonly string[],
  cluster: (options: ConnectionOptions & { readonly namespace?: string }) => ClusterNames = clusterNames,
): Promise<readonly string[]> {
  const line = readLine(program, words);
  const names = cluster(line.options);
  try {
    const found = await candidatesFor(line, names);
    return found === "files" ? [filesMark] : found;
  } finally {
    await names.close();
  }
}
