import type { Command } from "commander";
import { nodeRuntimes, platformParts } from "../../platform/index.js";
import { type CliContext, commandWithExamples, withConnection } from "../context.js";
import { outputFormats, parseOutputFormat } from "../output/print.js";
import { backupCommand, restoreCommand } from "./backup.js";
import { doctor } from "./doctor.js";
import { down } from "./down.js";
import { membersHelp } from "./members.js";
import { withSecurity } from "./security.js";
import { status } from "./status.js";
import { up } from "./up.js";
import { printVersion } from "./version.js";

/** `up`, `down`, `backup`, `restore`, `status`, `doctor`, `version`. */
export function platformCommands(context: CliContext): Command[] {
  const { terminal } = context;
  return [
    withSecurity(
      commandWithExamples("up", "Bring up a hub and its member clusters.", [
        "argosy up",
        "argosy up --data /var/lib/argosy --members cloud=2,edge,far-edge --detach",
        "argosy up --members site-a,site-b",
        "argosy up --runtime podman",
        "argosy up --without scheduler,nodes,workloads,modules",
        "argosy up --audit-policy default --encryption-config encryption.yaml",
      ])
        .option("--data <dir>", "where everything is kept", ".argosy")
        .option("--members <list>", membersHelp)
        .option("--without <parts>", `leave parts out: ${platformParts.join(", ")}`)
        .option("--runtime <name>", `what runs containers: ${nodeRuntimes.join(", ")} (default: as at the last start)`)
        .option("--detach", "run in the background and return when it is ready")
        .option("--fresh", "forget what the data directory holds and start over"),
    ).action((options) => up(context, options)),
    commandWithExamples("down", "Stop Argosy on a data directory; the data stay.", [
      "argosy down",
      "argosy down --data /var/lib/argosy --keep-pods",
    ])
      .option("--data <dir>", "data directory", ".argosy")
      .option("--keep-pods", "leave pods and gateway running, to be adopted at the next start")
      .action((options) => down(context, options)),
    ...backupCommands(context),
    withConnection(
      commandWithExamples("status", "Say what runs, where, and whether it answers.", [
        "argosy status",
        "argosy status -o json | jq -r .ingress",
      ]),
    )
      .option("-o, --output <format>", outputFormats.join(" | "), parseOutputFormat, "table")
      .action((options) => status(context, options)),
    commandWithExamples("doctor", "Check what this machine offers and what is missing.", [
      "argosy doctor",
      "argosy doctor -o json",
    ])
      .option("--data <dir>", "data directory", ".argosy")
      .option("-o, --output <format>", "table | json | yaml", parseOutputFormat, "table")
      .action((options) => doctor(context, options)),
    commandWithExamples("version", "Print the versions of Argosy, of the Kubernetes API it serves, and of Node.js.", [
      "argosy version",
      "argosy version -o json",
    ])
      .option("-o, --output <format>", "table | json | yaml", parseOutputFormat, "table")
      .action((options) => printVersion(terminal, options.output)),
  ];
}

function backupCommands(context: CliContext): Command[] {
  return [
    commandWithExamples(
      "backup",
      "Copy objects, certificates, records and artifacts of a data directory, while Argosy runs or not.",
      ["argosy backup /backups/monday", "argosy backup --data /var/lib/argosy /backups/monday"],
    )
      .argument("<folder>", "a new folder")
      .option("--data <dir>", "data directory", ".argosy")
      .action((folder: string, options) => backupCommand(context, folder, options.data)),
    commandWithExamples("restore", "Make a new data directory of a backup.", [
      "argosy restore /backups/monday --data restored && argosy up --data restored",
    ])
      .argument("<folder>", "what `argosy backup` made")
      .option("--data <dir>", "a new data directory", ".argosy")
      .action((folder: string, options) => restoreCommand(context, folder, options.data)),
  ];
}
