import type { Command } from "commander";
import { systemClock } from "../../kernel/clock/index.js";
import { InputError } from "../../kernel/errors/index.js";
import { type CliContext, collect, commandWithExamples, withConnection } from "../context.js";
import { connect } from "../session.js";
import { abort, promote, setPaused, undo } from "./act.js";
import { showPlan } from "./plan.js";
import { type ShowFormat, showHistory, showStatus } from "./show.js";
import { findRuled, type RolloutOptions } from "./target.js";

/** `plan`, `rollout`. */
export function rolloutCommands(context: CliContext): Command[] {
  return [planCommand(context), rolloutCommand(context)];
}

function withNamespace(command: Command): Command {
  return withConnection(command).option("-n, --namespace <name>", "namespace (default: the context's, else `default`)");
}

function withOutput(command: Command): Command {
  return command.option("-o, --output <format>", "table | json | yaml", parseShowFormat, "table");
}

function parseShowFormat(text: string): ShowFormat {
  const format = (["table", "json", "yaml"] as const).find((one) => one === text);
  if (format === undefined)
    throw new InputError(`unknown output format ${JSON.stringify(text)}: use one of table, json, yaml`);
  return format;
}

function planCommand({ terminal }: CliContext): Command {
  return withOutput(
    withNamespace(
      commandWithExamples(
        "plan",
        "Show what applying manifests would change, cluster by cluster, before anything moves.",
        ["argosy plan -f digits.yaml", "argosy plan -f manifests/ -o json"],
      ),
    ),
  )
    .requiredOption("-f, --filename <path>", "file, directory or - (repeatable)", collect, [])
    .action(async (options) => showPlan(await connect(options), { ...options, files: options.filename }, terminal));
}

const TARGET = "hmls/NAME";

function rolloutCommand({ terminal }: CliContext): Command {
  const part = (name: string, description: string, example: string): Command =>
    withNamespace(commandWithExamples(name, description, [example])).argument("<service>", TARGET);
  const at = () => ({ terminal, nowMs: systemClock.now() });
  const rollout = commandWithExamples("rollout", "See and steer how a HyperMLService's revisions reach its clusters.", [
    "argosy rollout status hmls/digits -n digits",
    "argosy rollout undo hmls/digits -n digits --to-revision 3",
  ]);
  rollout.addCommand(
    withOutput(
      part("status", "Where it stands: waves, gates, where requests end.", "argosy rollout status hmls/digits"),
    ).action(async (word: string, options: RolloutOptions & { output: ShowFormat }) =>
      showStatus(await findRuled(word, options), options.output, at()),
    ),
  );
  rollout.addCommand(
    withOutput(part("history", "Its revisions.", "argosy rollout history hmls/digits")).action(
      async (word: string, options: RolloutOptions & { output: ShowFormat }) =>
        showHistory(await findRuled(word, options), options.output, at()),
    ),
  );
  for (const [name, paused, description] of [
    ["pause", true, "Begin nothing, go on with nothing."],
    ["resume", false, "Go on."],
  ] as const) {
    rollout.addCommand(
      part(name, description, `argosy rollout ${name} hmls/digits`).action(
        async (word: string, options: RolloutOptions) => setPaused(await findRuled(word, options), paused, terminal),
      ),
    );
  }
  rollout.addCommand(
    part(
      "promote",
      "Approve the wave that is on or waits: it goes on when it is ready, without bake and gates.",
      "argosy rollout promote hmls/digits --all",
    )
      .option("--through <wave>", "up to and with this wave")
      .option("--all", "all waves")
      .action(async (word: string, options: RolloutOptions & { through?: string; all?: boolean }) =>
        promote(await findRuled(word, options), options, terminal),
      ),
  );
  rollout.addCommand(
    part("abort", "Take the revision that is being rolled out back.", "argosy rollout abort hmls/digits").action(
      async (word: string, options: RolloutOptions) => abort(await findRuled(word, options), terminal),
    ),
  );
  rollout.addCommand(
    part("undo", "Go back to an earlier revision.", "argosy rollout undo hmls/digits --to-revision 3")
      .option("--to-revision <n>", "its number (default: the one before)", parseRevision)
      .action(async (word: string, options: RolloutOptions & { toRevision?: number }) =>
        undo(await findRuled(word, options), options.toRevision, terminal),
      ),
  );
  return rollout;
}

function parseRevision(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text))
    throw new InputError(`--to-revision ${JSON.stringify(text)} is no number of a revision`);
  return Number(text);
}
