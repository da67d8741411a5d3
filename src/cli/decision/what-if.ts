import { Command, type Command as CommandType } from "commander";
import { systemClock } from "../../kernel/clock/index.js";
import { InputError } from "../../kernel/errors/index.js";
import {
  type FleetCopy,
  labelled,
  leaving,
  lost,
  type NewCluster,
  readFleet,
  simulate,
  tainted,
  withCluster,
  withNewCluster,
} from "../../modules/fleet/index.js";
import { type CliContext, collect, commandWithExamples, withConnection } from "../context.js";
import { renderDocument } from "../output/print.js";
import type { Terminal } from "../output/terminal.js";
import { type ConnectionOptions, connect, type Session } from "../session.js";
import { applied, scaled } from "./what-if-objects.js";
import { renderSimulation, simulationDocument } from "./what-if-text.js";
import { parseLabel, parseTaint } from "./what-if-words.js";

/** Options of every what-if. */
export interface WhatIfOptions {
  readonly output: "table" | "json" | "yaml";
  readonly namespace?: string;
}

/** A change of a copy of the hub. */
export type Change = (copy: FleetCopy, session: Session) => FleetCopy | Promise<FleetCopy>;

const CORDON = { key: "cluster.karmada.io/unschedulable", effect: "NoSchedule" } as const;

/** `argosy what-if …`: where objects would go after a change, by the hub's own code on a copy of it. */
export function whatIfCommand(context: CliContext): CommandType {
  const command = new Command("what-if").description(
    "Say where objects would go after a change, by the hub's own rules on a copy: nothing is changed.",
  );
  for (const part of [...clusterChanges(context), addCluster(context), scale(context), apply(context)])
    command.addCommand(part);
  return command;
}

/** Tries a change on a copy of the hub that a session is of, and prints what would become of it. */
export async function tryChange(
  session: Session,
  change: Change,
  { options, terminal }: { readonly options: WhatIfOptions; readonly terminal: Terminal },
): Promise<void> {
  const copy = await readFleet(session.client, systemClock.now());
  const result = simulate(copy, await change(copy, session));
  terminal.out(
    options.output === "table" ? renderSimulation(result) : renderDocument(simulationDocument(result), options.output),
  );
}

function part(name: string, description: string, examples: readonly string[]): CommandType {
  return withConnection(commandWithExamples(name, description, examples)).option(
    "-o, --output <format>",
    "table | json | yaml",
    parseFormat,
    "table",
  );
}

function parseFormat(text: string): WhatIfOptions["output"] {
  const format = (["table", "json", "yaml"] as const).find((one) => one === text);
  if (format === undefined)
    throw new InputError(`unknown output format ${JSON.stringify(text)}: use one of table, json, yaml`);
  return format;
}

type Options = ConnectionOptions & WhatIfOptions;

type ClusterChange = Parameters<typeof withCluster>[2];

const changed =
  (names: readonly string[], change: ClusterChange): Change =>
  (copy) =>
    names.reduce((next, name) => withCluster(next, name, change), copy);

/** Changes that need nothing but the names of clusters. */
const NAMED: readonly {
  readonly name: string;
  readonly description: string;
  readonly examples: readonly string[];
  readonly change: ClusterChange;
}[] = [
  {
    name: "cordon",
    description: "Clusters take nothing new.",
    examples: ["argosy what-if cordon edge"],
    change: (cluster) => tainted(cluster, [{ ...CORDON, isRemoval: false }], systemClock.now()),
  },
  {
    name: "uncordon",
    description: "Clusters take new objects again.",
    examples: ["argosy what-if uncordon edge"],
    change: (cluster) => tainted(cluster, [{ ...CORDON, isRemoval: true }], systemClock.now()),
  },
  {
    name: "lose",
    description: "Clusters stop answering.",
    examples: ["argosy what-if lose edge", "argosy what-if lose edge far-edge"],
    change: (cluster) => lost(cluster, systemClock.now()),
  },
  {
    name: "remove-cluster",
    description: "Clusters leave the fleet.",
    examples: ["argosy what-if remove-cluster edge"],
    change: (cluster) => leaving(cluster, systemClock.now()),
  },
];

function clusterChanges({ terminal }: CliContext): CommandType[] {
  const run = async (options: Options, change: Change): Promise<void> =>
    tryChange(await connect(options), change, { options, terminal });
  const named = NAMED.map(({ name, description, examples, change }) =>
    part(name, description, examples)
      .argument("<cluster...>")
      .action((names: string[], options: Options) => run(options, changed(names, change))),
  );
  return [
    ...named,
    part("taint", "A cluster has other taints.", [
      "argosy what-if taint edge broken=yes:NoExecute",
      "argosy what-if taint edge broken-",
    ])
      .argument("<cluster>")
      .argument("<taint...>", "KEY[=VALUE]:EFFECT, or KEY[:EFFECT]- to take one away")
      .action((name: string, words: string[], options: Options) => {
        const changes = words.map(parseTaint);
        return run(
          options,
          changed([name], (cluster) => tainted(cluster, changes, systemClock.now())),
        );
      }),
    part("label", "A cluster has other labels.", ["argosy what-if label edge tier=gold site-"])
      .argument("<cluster>")
      .argument("<label...>", "KEY=VALUE, or KEY- to take one away")
      .action((name: string, words: string[], options: Options) => {
        const labels = Object.fromEntries(words.map(parseLabel));
        return run(
          options,
          changed([name], (cluster) => labelled(cluster, labels)),
        );
      }),
  ];
}

interface AddOptions extends Options {
  readonly like?: string;
  readonly region?: string;
  readonly provider?: string;
  readonly zone: readonly string[];
  readonly label: readonly string[];
  readonly cpu?: string;
  readonly memory?: string;
  readonly pods?: string;
}

function addCluster({ terminal }: CliContext): CommandType {
  return part("add-cluster", "There is one cluster more.", [
    "argosy what-if add-cluster paris --like cloud",
    "argosy what-if add-cluster paris --region eu --label tier=gold --cpu 32 --memory 128Gi",
  ])
    .argument("<name>")
    .option("--like <cluster>", "as this one in everything that is not said")
    .option("--region <name>", "where it is")
    .option("--provider <name>", "who runs it")
    .option("--zone <name>", "a zone of its nodes (repeatable)", collect, [])
    .option("--label <key=value>", "a label (repeatable)", collect, [])
    .option("--cpu <quantity>", "CPUs that are free (default: it does not tell)")
    .option("--memory <quantity>", "memory that is free")
    .option("--pods <number>", "pods that it has room for")
    .action(async (name: string, options: AddOptions) => {
      const { like, region, provider, zone, label, cpu, memory, pods } = options;
      const labels = label.map(parseLabel).flatMap(([key, value]) => (value === null ? [] : [[key, value] as const]));
      const room = { cpu, memory, pods };
      const wanted: NewCluster = {
        name,
        labels: Object.fromEntries(labels),
        room: Object.fromEntries(
          Object.entries(room).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
        ),
        ...(like === undefined ? {} : { like }),
        ...(region === undefined ? {} : { region }),
        ...(provider === undefined ? {} : { provider }),
        ...(zone.length === 0 ? {} : { zones: zone }),
      };
      await tryChange(await connect(options), (copy) => withNewCluster(copy, wanted), { options, terminal });
    });
}

function scale({ terminal }: CliContext): CommandType {
  return part("scale", "An object has another number of replicas.", ["argosy what-if scale deployment/web 10 -n demo"])
    .argument("<object>", "TYPE/NAME")
    .argument("<replicas>")
    .option("-n, --namespace <name>", "namespace (default: the context's, else `default`)")
    .action(async (object: string, replicas: string, options: Options) => {
      const count = Number(replicas);
      if (!/^\d{1,9}$/.test(replicas)) throw new InputError(`${JSON.stringify(replicas)} is no number of replicas`);
      const change: Change = (copy, session) => scaled(copy, session, { object, count, namespace: options.namespace });
      await tryChange(await connect(options), change, { options, terminal });
    });
}

function apply({ terminal }: CliContext): CommandType {
  return part("apply", "Policies, clusters, taint policies or objects are as in these files.", [
    "argosy what-if apply -f policy.yaml",
  ])
    .requiredOption("-f, --filename <path>", "file, directory or - (repeatable)", collect, [])
    .option("-n, --namespace <name>", "namespace (default: the context's, else `default`)")
    .action(async (options: Options & { readonly filename: readonly string[] }) => {
      const change: Change = (copy, session) =>
        applied(copy, session, { files: options.filename, namespace: options.namespace, terminal });
      await tryChange(await connect(options), change, { options, terminal });
    });
}
