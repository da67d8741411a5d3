import { Command, type Command as CommandType } from "commander";
import { systemClock } from "../../kernel/clock/index.js";
import { InputError, isNotFound } from "../../kernel/errors/index.js";
import { findCondition } from "../../kernel/kinds/index.js";
import {
  awaitReady,
  DELIVERY_RULES,
  forgetHub,
  type Hub,
  isMember,
  joinCluster,
  leaveCluster,
  listClusters,
  PROPAGATION_RULES,
  setCordon,
} from "../../modules/fleet/index.js";
import { type CliContext, commandWithExamples, withConnection } from "../context.js";
import { formatAge, renderTable } from "../output/table.js";
import { type ConnectionOptions, connect } from "../session.js";
import { wayInto } from "./member.js";
import { labelsOf, type PlaceOptions, placeOf, secondsOf, withPlace } from "./options.js";
import { registerCommand, tokenCommand } from "./pull.js";

/** How much the hub may do in a member. */
const rights = { all: PROPAGATION_RULES, delivery: DELIVERY_RULES } as const;

interface JoinOptions extends ConnectionOptions, PlaceOptions {
  readonly memberKubeconfig: string;
  readonly memberContext?: string;
  readonly endpoint?: string;
  readonly rights: string;
  readonly timeout: string;
}

/** `argosy clusters join | register | token | leave | list | cordon | uncordon`. */
export function clustersCommand(context: CliContext): CommandType {
  const command = new Command("clusters").description("Bring member clusters into a hub, take them out, look at them.");
  for (const part of [
    joinCommand(context),
    registerCommand(context),
    tokenCommand(context),
    leaveCommand(context),
    listCommand(context),
    ...cordonCommands(context),
  ])
    command.addCommand(part);
  return command;
}

function joinCommand({ terminal }: CliContext): CommandType {
  return withPlace(
    commandWithExamples("join", "Bring a cluster in by push: the hub gets an account in it, and delivers.", [
      "argosy clusters join paris --member-kubeconfig paris.kubeconfig",
      "argosy clusters join lab --member-kubeconfig ~/.kube/config --member-context lab --region eu --zone eu-1 --label tier=gold",
      "argosy clusters join shop --member-kubeconfig shop.kubeconfig --rights delivery",
    ]),
  )
    .argument("<name>", "what the fleet calls it")
    .requiredOption("--member-kubeconfig <file>", "an administrator's way into the cluster")
    .option("--member-context <name>", "context of that file (default: its current one)")
    .option("--endpoint <url>", "where the hub reaches its API (default: as that file does)")
    .option("--rights <which>", "what the hub may do there: all, or delivery (what model services need)", "all")
    .option("--timeout <seconds>", "how long to wait until it is Ready", "60")
    .action(async (name: string, options: JoinOptions) => {
      const timeoutMs = secondsOf("--timeout", options.timeout) * 1000;
      const rules = Object.entries(rights).find(([word]) => word === options.rights)?.[1];
      if (rules === undefined) throw new InputError(`--rights ${JSON.stringify(options.rights)}: all or delivery`);
      const labels = labelsOf(options.label);
      const hub = await hubOf(options);
      const { member, ...way } = await wayInto(options.memberKubeconfig, options.memberContext);
      await joinCluster(hub, {
        name,
        member,
        rules,
        labels,
        endpoint: { ...way, server: options.endpoint ?? way.server },
        place: placeOf(options),
      });
      await awaitReady(hub, name, timeoutMs);
      terminal.out(`cluster ${name} has joined and is Ready\n`);
    });
}

function leaveCommand({ terminal }: CliContext): CommandType {
  return withConnection(
    commandWithExamples("leave", "Take a cluster out: what the hub put there goes first, where it answers.", [
      "argosy clusters leave paris",
      "argosy clusters leave paris --member-kubeconfig paris.kubeconfig    # the hub's account there goes too",
    ]),
  )
    .argument("<name>", "the cluster")
    .option("--member-kubeconfig <file>", "to remove the hub's account and rights there")
    .option("--member-context <name>", "context of that file (default: its current one)")
    .option("--timeout <seconds>", "how long to wait", "120")
    .action(
      async (
        name: string,
        options: ConnectionOptions & { memberKubeconfig?: string; memberContext?: string; timeout: string },
      ) => {
        const timeoutMs = secondsOf("--timeout", options.timeout) * 1000;
        const hub = await hubOf(options);
        const { memberKubeconfig, memberContext } = options;
        if (memberKubeconfig === undefined) {
          const { hadAccount, staying } = await leaveCluster(hub, name, timeoutMs);
          terminal.out(`cluster ${name} has left\n`);
          sayStaying(terminal, staying);
          if (hadAccount)
            terminal.err("the hub's account stays in it: again with --member-kubeconfig FILE takes that away, too\n");
          return;
        }
        const { member } = await wayInto(memberKubeconfig, memberContext);
        if (!(await isMember(hub, name, member)))
          throw new InputError(`${memberKubeconfig} leads to another cluster than the hub's ${name}`);
        const gone = await leaveCluster(hub, name, timeoutMs).catch((error: unknown) =>
          error instanceof Error ? error : new InputError(String(error)),
        );
        const wasThere = await forgetHub(member, name);
        if (gone instanceof Error && !(isNotFound(gone) && wasThere)) throw gone;
        terminal.out(
          `cluster ${name} ${gone instanceof Error ? "had left; the hub's account in it is gone now" : "has left"}\n`,
        );
        if (!(gone instanceof Error)) sayStaying(terminal, gone.staying);
      },
    );
}

/** A member that does not answer keeps what it has: whoever takes it out should know. */
function sayStaying(terminal: CliContext["terminal"], staying: number): void {
  if (staying > 0)
    terminal.err(
      `it did not answer: ${staying === 1 ? "the object that was" : `${staying} objects that were`} delivered there may still be in it (label karmada.io/managed=true)\n`,
    );
}

function listCommand({ terminal }: CliContext): CommandType {
  return withConnection(
    commandWithExamples("list", "Say which clusters there are, and how they are.", [
      "argosy clusters list",
      "argosy get clusters -o yaml",
    ]),
  ).action(async (options: ConnectionOptions) => {
    const hub = await hubOf(options);
    const rows = (await listClusters(hub)).map(({ metadata, spec, status }) => {
      const { readyNum = 0, totalNum = 0 } = status?.nodeSummary ?? {};
      const taints = (spec?.taints ?? []).map(({ key, effect }) => `${key}:${effect}`);
      return [
        metadata.name,
        spec?.syncMode ?? "",
        findCondition(status?.conditions, "Ready")?.status ?? "Unknown",
        status?.kubernetesVersion ?? "",
        status?.nodeSummary === undefined ? "" : `${readyNum}/${totalNum}`,
        spec?.region ?? "",
        taints.join(",") || "<none>",
        formatAge(hub.clock.now() - Date.parse(metadata.creationTimestamp ?? "")),
      ];
    });
    const head = ["name", "mode", "ready", "version", "nodes", "region", "taints", "age"];
    terminal.out(rows.length === 0 ? "" : renderTable(head, rows));
    if (rows.length === 0) terminal.err("no clusters\n");
  });
}

function cordonCommands({ terminal }: CliContext): CommandType[] {
  return ([true, false] as const).map((isCordoned) => {
    const verb = isCordoned ? "cordon" : "uncordon";
    const what = isCordoned
      ? "Keep newcomers out of a cluster; what is there stays."
      : "Let newcomers into a cluster again.";
    return withConnection(commandWithExamples(verb, what, [`argosy clusters ${verb} paris`]))
      .argument("<name>", "the cluster")
      .action(async (name: string, options: ConnectionOptions) => {
        const isChanged = await setCordon(await hubOf(options), name, isCordoned);
        terminal.out(`cluster ${name} ${isChanged ? "is" : "was already"} ${verb}ed\n`);
      });
  });
}

async function hubOf(options: ConnectionOptions): Promise<Hub> {
  return { client: (await connect(options)).client, clock: systemClock };
}
