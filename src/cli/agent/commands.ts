import { isIP } from "node:net";
import { join } from "node:path";
import type { Command } from "commander";
import { dump } from "js-yaml";
import { InputError } from "../../kernel/errors/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import type { Level } from "../../kernel/module/types.js";
import {
  agentDeployment,
  describeKinds,
  describeRights,
  type ListenAddress,
  nodeRuntimes,
  type PullRights,
  parseRuntime,
  productVersion,
  startAgent,
  writeNodeCredentials,
} from "../../platform/index.js";
import { type CliContext, collect, commandWithExamples } from "../context.js";
import { InterruptedError } from "../errors.js";
import { untilSignal } from "../platform/signals.js";
import { levelNames, parseBoolean, parseLevel, parseListen, parseNames } from "./options.js";

interface RunOptions {
  readonly level?: Level;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly karmadaKubeconfig?: string;
  readonly cluster?: string;
  readonly data?: string;
  readonly modules?: string;
  readonly installCrds: boolean;
  readonly pull?: boolean;
  readonly namespace: string;
  readonly ingress?: string;
  readonly domain?: string;
  readonly advertise?: string;
  readonly webhook?: string;
  readonly nodeData?: string;
  readonly northbound: string;
  readonly artifacts: string;
  readonly health: string;
  readonly nodeName?: string;
  readonly servingCertificate?: string;
  readonly clientCa?: string;
  readonly clientName?: string;
  readonly serviceProxy: boolean;
  readonly runtime?: string;
}

/** Where the gateway of a level listens unless told otherwise: as in `argosy up`. */
const ingressDefaults: Readonly<Record<Level, string>> = {
  continuum: "127.0.0.1:8080",
  cluster: "127.0.0.1:8081",
  node: "127.0.0.1:0",
};

const systemNamespace = "argosy-system";

const pullHelp =
  "level cluster: it fetches, too, and may make `all` that the hub sends, or what model services need (`delivery`)";

function parsePullRights(text: string): PullRights {
  if (text !== "all" && text !== "delivery") throw new InputError(`--pull ${JSON.stringify(text)}: all or delivery`);
  return text;
}

/** `argosy agent` with what it prints and issues: `rbac`, `crds`, `deployment` and `credentials`. */
export function agentCommand(context: CliContext): Command {
  const command = withNodeOptions(withLevelOptions(runCommand())).action((options: RunOptions) =>
    runAgent(context, options),
  );
  for (const part of [
    rbacCommand(context),
    crdsCommand(context),
    deploymentCommand(context),
    credentialsCommand(context),
  ]) {
    command.addCommand(part);
  }
  return command;
}

function runCommand(): Command {
  return commandWithExamples(
    "agent",
    "Run the controllers of one level against any Kubernetes API, or make this machine a node.",
    [
      "argosy agent --level continuum --kubeconfig hub.kubeconfig --cluster hub",
      "argosy agent --level cluster --kubeconfig edge.kubeconfig --cluster edge --ingress 0.0.0.0:80 --domain edge.example.org",
      "argosy agent --level cluster --kubeconfig edge.kubeconfig --modules serving    # the upstream ingress stays",
      "argosy agent --level node --kubeconfig node.kubeconfig --node-name box-1",
      "argosy agent rbac --level continuum | kubectl --context hub apply -f -",
    ],
  )
    .option("--level <level>", levelNames.join(" | "), parseLevel)
    .option("--kubeconfig <file>", "cluster and identity (default: the ServiceAccount of the pod that this runs in)")
    .option("--context <name>", "context of the kubeconfig (default: its current one)")
    .option(
      "--karmada-kubeconfig <file>",
      "level continuum: a real Karmada's API server, where it is not the hub's own",
    )
    .option("--cluster <name>", "what the fleet calls this cluster (default: as the kubeconfig does)")
    .option("--data <dir>", "gateway table, decisions, logs, pods of a node (default: .argosy-agent/LEVEL)")
    .option("--modules <list>", "only these modules, for instance serving (default: all of the level)")
    .option("--install-crds <yes>", "false: refuse a cluster without the kinds", booleanOf("--install-crds"), true)
    .option("--namespace <name>", "of the lease by which agents take turns", systemNamespace)
    .option("--health <host:port>", "/healthz, /readyz and /metrics; port 0: any free one", "127.0.0.1:0");
}

/** Of the hub's and of members' agents. */
function withLevelOptions(command: Command): Command {
  return command
    .option("--ingress <host:port>", "where its gateway takes requests (default: 127.0.0.1:8080, cluster: 8081)")
    .option("--northbound <host:port>", "level continuum: tracking and decisions", "127.0.0.1:5000")
    .option("--artifacts <host:port>", "level continuum: the artifact store (S3)", "127.0.0.1:9000")
    .option(
      "--advertise <host>",
      "level continuum: by which host pods reach these two, or `services` for those of `agent deployment --northbound --artifacts` (default: where they listen)",
    )
    .option(
      "--webhook <host:port>",
      "level continuum: where the hub's API server asks what is refused and filled in (default: on the loopback, if that server is there too)",
    )
    .option(
      "--pull",
      "level cluster: fetch what the hub has for this cluster, too, as `argosy clusters register` set it up",
    )
    .option(
      "--domain <name>",
      "level cluster: models are <name>.<namespace>.<domain> (default: CLUSTER.argosy.localhost)",
    )
    .option(
      "--node-data <dir>",
      "level cluster, as a plain user: the --data of this machine's node agent, to reach its pods",
    );
}

function withNodeOptions(command: Command): Command {
  return command
    .option("--node-name <name>", "level node (default: this machine's name)")
    .option("--serving-certificate <file>", "level node: PEM certificate and key (default: by an authority of its own)")
    .option(
      "--client-ca <file>",
      "level node: authority of the API server's client certificate (default: the kubeconfig's)",
    )
    .option(
      "--client-name <name>",
      "level node: common name of that certificate (default: kube-apiserver-kubelet-client)",
    )
    .option("--runtime <name>", `level node: ${nodeRuntimes.join(", ")} (default: as at the last start)`)
    .option("--no-service-proxy", "level node: leave ClusterIPs to a kube-proxy");
}

function withLevel(command: Command): Command {
  return command.requiredOption("--level <level>", levelNames.join(" | "), parseLevel);
}

const booleanOf = (option: string) => (text: string) => parseBoolean(option, text);

async function runAgent({ terminal }: CliContext, options: RunOptions): Promise<void> {
  const { level } = options;
  if (level === undefined) {
    throw new InputError(`say which level with --level: ${levelNames.join(", ")}`);
  }
  const ending = untilSignal();
  const ended = new AbortController();
  void ending.then(() => ended.abort(new InterruptedError("ended before it was up")));
  const modules = parseNames(options.modules);
  const { nodeName, servingCertificate, clientCa, clientName, serviceProxy } = options;
  const agent = await startAgent({
    level,
    ...given({
      kubeconfig: options.kubeconfig,
      context: options.context,
      karmadaKubeconfig: options.karmadaKubeconfig,
      cluster: options.cluster,
      domain: options.domain,
      advertise: options.advertise,
      nodeDataDir: options.nodeData,
    }),
    ...(modules === undefined ? {} : { modules }),
    environment: process.env,
    dataDir: options.data ?? join(".argosy-agent", level),
    installCrds: options.installCrds,
    pull: options.pull === true,
    namespace: options.namespace,
    ingress: parseListen("--ingress", options.ingress ?? ingressDefaults[level]),
    services: {
      northbound: parseListen("--northbound", options.northbound),
      artifacts: parseListen("--artifacts", options.artifacts),
    },
    health: parseListen("--health", options.health),
    ...(options.webhook === undefined ? {} : { webhook: parseListen("--webhook", options.webhook) }),
    node: {
      serviceProxy,
      ...given({ name: nodeName, servingCertificate, clientCa, clientName }),
      ...(options.runtime === undefined ? {} : { runtime: parseRuntime(options.runtime) }),
    },
    note: (text) => terminal.err(`${text}\n`),
    signal: ended.signal,
  });
  terminal.err(`${agent.summary}\nready: ${level} agent of ${agent.cluster}, health at ${agent.health}\n`);
  const request = await ending;
  terminal.err("stopping …\n");
  await agent.close({ keepPods: request === "leave" });
}

/** Without the members that are absent. */
function given<T extends string>(values: Readonly<Record<T, string | undefined>>): Partial<Record<T, string>> {
  const result: Partial<Record<T, string>> = {};
  for (const key in values) {
    const value = values[key];
    if (value !== undefined) {
      result[key] = value;
    }
  }
  return result;
}

function rbacCommand({ terminal }: CliContext): Command {
  return withLevel(
    commandWithExamples("rbac", "Print the identity and the least rights that an agent needs in its cluster.", [
      "argosy agent rbac --level continuum | kubectl --context hub apply -f -",
      "argosy agent rbac --level cluster --delivery | kubectl --context edge apply -f -",
      "argosy agent rbac --level node --node-name box-1 | kubectl --context edge apply -f -",
    ]),
  )
    .option("--modules <list>", "as the agent will have it")
    .option("--install-crds <yes>", "as the agent will have it", booleanOf("--install-crds"), true)
    .option("--namespace <name>", "as the agent will have it", systemNamespace)
    .option("--node-name <name>", "level node (default: all nodes)")
    .option("--delivery", "also the identity by which the hub delivers to this cluster (ServiceAccount argosy-fleet)")
    .option("--no-webhook", "without the right to have the API server ask it (it makes webhook configurations)")
    .option("--pull <rights>", pullHelp, parsePullRights)
    .action((options) => {
      const modules = parseNames(options.modules);
      terminal.out(
        documents(
          describeRights({
            level: options.level,
            namespace: options.namespace,
            installCrds: options.installCrds,
            delivery: options.delivery === true,
            webhook: options.webhook,
            ...(options.pull === undefined ? {} : { pull: options.pull }),
            ...(modules === undefined ? {} : { modules }),
            ...(options.nodeName === undefined ? {} : { node: options.nodeName }),
          }),
        ),
      );
    });
}

function crdsCommand({ terminal }: CliContext): Command {
  return withLevel(
    commandWithExamples("crds", "Print the CustomResourceDefinitions that an agent installs.", [
      "argosy agent crds --level cluster | kubectl --context edge apply --server-side -f -",
    ]),
  )
    .option("--modules <list>", "as the agent will have it")
    .action((options) => terminal.out(documents(describeKinds(options.level, parseNames(options.modules)))));
}

function deploymentCommand({ terminal }: CliContext): Command {
  return withLevel(
    commandWithExamples(
      "deployment",
      "Print what runs an agent in a pod of its own cluster: its rights, a Deployment and a Service.",
      [
        "argosy agent deployment --level cluster --cluster edge --node-port 30080 | kubectl --context edge apply -f -",
        "argosy agent deployment --level continuum --cluster hub -- --modules fleet | kubectl --context hub apply -f -",
      ],
    ),
  )
    .requiredOption("--cluster <name>", "what the fleet calls the cluster")
    .option("--image <image>", "of `argosy images` (default: this program's version)")
    .option("--namespace <name>", "where it runs", systemNamespace)
    .option("--node-port <port>", "port of every node that leads to its gateway (default: none)", parseNodePort)
    .option(
      "--northbound <ip:port>",
      "level cluster: where pods reach tracking of the hub's agent; makes a Service for it",
      parsePlace,
    )
    .option("--artifacts <ip:port>", "level cluster: the same for its artifact store", parsePlace)
    .option("--delivery", "level cluster: also the identity by which the hub delivers to this cluster")
    .option("--pull <rights>", pullHelp, parsePullRights)
    .argument("[options...]", "more options of `argosy agent`, after --")
    .action(async (words: string[], options) => {
      const { level, cluster, namespace, nodePort } = options;
      if (level === "node") throw new InputError("a node's agent runs outside of pods: `argosy agent --level node`");
      const image = options.image ?? `argosy.dev/argosy:${(await productVersion()).argosy}`;
      const pull = options.pull === undefined ? {} : { pull: options.pull };
      const rights = { level, namespace, installCrds: true, delivery: options.delivery === true, ...pull };
      terminal.out(
        documents([
          ...describeRights(rights),
          ...agentDeployment({
            level,
            cluster,
            namespace,
            image,
            nodePort,
            options: options.pull === undefined ? words : ["--pull", ...words],
            services: { northbound: options.northbound, artifacts: options.artifacts },
          }),
        ]),
      );
    });
}

/** Endpoints of a Service are addresses. */
function parsePlace(text: string): ListenAddress {
  const place = parseListen("address", text);
  if (isIP(place.host) === 0) throw new InputError(`${JSON.stringify(text)} has no IP address before its port`);
  return place;
}

function parseNodePort(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new InputError(
      `--node-port ${JSON.stringify(text)} is no port; clusters use 30000 to 32767 unless told otherwise`,
    );
  return port;
}

function credentialsCommand({ terminal }: CliContext): Command {
  return commandWithExamples(
    "credentials",
    "Issue what a node needs to join a cluster of `argosy up` on this machine.",
    [
      "argosy agent credentials --context cloud --node-name box-1 --output box-1",
      "argosy agent --level node --node-name box-1 --kubeconfig box-1/kubeconfig --serving-certificate box-1/serving.pem",
    ],
  )
    .option("--data <dir>", "data directory of `argosy up`", ".argosy")
    .requiredOption("--context <name>", "cluster: cloud, edge, …")
    .requiredOption("--node-name <name>", "the node's name")
    .requiredOption("--output <folder>", "where kubeconfig and serving.pem are written (mode 0600)")
    .option(
      "--address <address>",
      "under which the API server reaches it, beside those of this machine (repeatable)",
      collect,
      [],
    )
    .action(async (options) => {
      const files = await writeNodeCredentials({
        dataDir: options.data,
        cluster: options.context,
        node: options.nodeName,
        addresses: options.address,
        folder: options.output,
      });
      terminal.err(`wrote ${files.kubeconfig} and ${files.servingCertificate}\n`);
    });
}

function documents(objects: readonly JsonObject[]): string {
  return objects.map((object) => dump(object, { lineWidth: -1, noRefs: true })).join("---\n");
}
