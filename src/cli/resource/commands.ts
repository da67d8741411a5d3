import type { Command } from "commander";
import { InputError } from "../../kernel/errors/index.js";
import { type CliContext, collect, commandWithExamples, withConnection } from "../context.js";
import { outputFormats, parseOutputFormat } from "../output/print.js";
import { connect } from "../session.js";
import { applyManifests } from "./apply.js";
import { deleteResources } from "./delete.js";
import { describeResources } from "./describe.js";
import { getResources } from "./get.js";
import { streamLogs } from "./logs.js";

/** `apply`, `get`, `describe`, `delete`, `logs`. */
export function resourceCommands(context: CliContext): Command[] {
  return [
    applyCommand(context),
    getCommand(context),
    describeCommand(context),
    deleteCommand(context),
    logsCommand(context),
  ];
}

function withNamespace(command: Command): Command {
  return withConnection(command).option("-n, --namespace <name>", "namespace (default: the context's, else `default`)");
}

function applyCommand({ terminal }: CliContext): Command {
  return withNamespace(
    commandWithExamples("apply", "Create or change objects so that they are as a manifest says (server-side apply).", [
      "argosy apply -f service.yaml",
      "argosy apply -f manifests/ --context cloud",
      "cat job.yaml | argosy apply -f -",
    ]),
  )
    .requiredOption("-f, --filename <path>", "file, directory or - (repeatable)", collect, [])
    .option("--dry-run", "check everything on the server, change nothing")
    .option("--force", "take fields over from other field managers")
    .action(async (options) =>
      applyManifests(await connect(options), { ...options, files: options.filename }, terminal),
    );
}

function getCommand({ terminal }: CliContext): Command {
  return withNamespace(
    commandWithExamples("get", "List objects, or print them.", [
      "argosy get hmls -A",
      "argosy get pods -n digits --context cloud -o wide",
      "argosy get hmls/digits -n digits -o yaml",
    ]),
  )
    .argument("<type...>", "TYPE[,TYPE] [NAME…] or TYPE/NAME…")
    .option("-o, --output <format>", outputFormats.join(" | "), parseOutputFormat, "table")
    .option("-A, --all-namespaces", "in all namespaces")
    .option("-l, --selector <labels>", "label selector, for instance app=web,tier!=cache")
    .option("--field-selector <fields>", "field selector, for instance status.phase=Running")
    .action(async (words, options) => getResources(await connect(options), words, options, terminal));
}

function describeCommand({ terminal }: CliContext): Command {
  return withNamespace(
    commandWithExamples("describe", "Show an object's fields, conditions and events in words.", [
      "argosy describe hmls/digits -n digits",
      "argosy describe pod web-0 --context edge",
    ]),
  )
    .argument("<type...>", "TYPE [NAME…] or TYPE/NAME…")
    .action(async (words, options) => describeResources(await connect(options), words, options, terminal));
}

function deleteCommand({ terminal }: CliContext): Command {
  return withNamespace(
    commandWithExamples("delete", "Delete objects and wait until they are gone.", [
      "argosy delete -f service.yaml",
      "argosy delete hmls digits -n digits",
      "argosy delete pods --all -n test",
    ]),
  )
    .argument("[type...]", "TYPE NAME… or TYPE/NAME…")
    .option("-f, --filename <path>", "file, directory or - (repeatable)", collect, [])
    .option("--all", "all objects of the type in the namespace")
    .option("--no-wait", "return at once")
    .option("--timeout <seconds>", "how long to wait", "60")
    .option("--ignore-not-found", "do not complain about what is not there")
    .action(async (words, options) => {
      const timeoutSeconds = Number(options.timeout);
      if (!Number.isFinite(timeoutSeconds)) {
        throw new InputError(`--timeout ${JSON.stringify(options.timeout)} is no number of seconds`);
      }
      await deleteResources(
        await connect(options),
        words,
        { ...options, files: options.filename, timeoutSeconds },
        terminal,
      );
    });
}

function logsCommand({ terminal }: CliContext): Command {
  return withNamespace(
    commandWithExamples("logs", "Print the log of a pod, or of a pod of a job or deployment.", [
      "argosy logs job/train-digits -n digits --context cloud",
      "argosy logs web-0 -f --tail 20",
    ]),
  )
    .argument("<target>", "POD, job/NAME, deployment/NAME, statefulset/NAME")
    .option("-c, --container <name>", "container (default: the only one)")
    .option("-f, --follow", "go on until the container ends")
    .option("-p, --previous", "of the run before the last restart")
    .option("--timestamps", "a time before each line")
    .option("--tail <lines>", "only the last lines")
    .option("--since <duration>", "only newer than 30s, 5m, 2h")
    .action(async (target, options) => streamLogs(await connect(options), target, options, terminal));
}
