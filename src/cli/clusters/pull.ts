import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Command } from "commander";
import { dump, load } from "js-yaml";
import { type ApiClient, createClient, httpTransport, loadKubeconfig } from "../../kernel/client/index.js";
import { systemClock, systemRandom } from "../../kernel/clock/index.js";
import { ArgosyError, InputError, messageOf } from "../../kernel/errors/index.js";
import { durationText } from "../../kernel/gates/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { asObject, asString } from "../../kernel/schema/index.js";
import {
  authorityHash,
  awaitReady,
  CLUSTER_INFO,
  ClusterKind,
  enrolCluster,
  publishClusterInfo,
  registerMember,
  registrationToken,
  revokeCluster,
} from "../../modules/fleet/index.js";
import { agentDeployment, describeRights, productVersion } from "../../platform/index.js";
import { type CliContext, commandWithExamples, withConnection } from "../context.js";
import { type ConnectionOptions, connect, dataDirectory } from "../session.js";
import { wayInto } from "./member.js";
import { labelsOf, type PlaceOptions, placeOf, secondsOf, withPlace } from "./options.js";

const MANAGER = "argosy-register";
/** Pods have a loopback of their own. */
const LOOPBACK = /^(localhost|127\..*|\[::1\])$/;

/** `argosy clusters token create | revoke`: on the hub. */
export function tokenCommand(context: CliContext): Command {
  const command = new Command("token").description(
    "Let a cluster register itself with this hub, or end its credentials.",
  );
  command.addCommand(createTokenCommand(context));
  command.addCommand(revokeTokenCommand(context));
  return command;
}

interface CreateOptions extends ConnectionOptions, PlaceOptions {
  readonly ttl: string;
  readonly hub?: string;
}

function createTokenCommand({ terminal }: CliContext): Command {
  return withPlace(
    commandWithExamples(
      "create",
      "Make room for a cluster that fetches (pull), and print the command that registers it.",
      [
        "argosy clusters token create paris",
        "argosy clusters token create lab --region eu --label tier=gold --ttl 600",
        "argosy clusters token create shop --hub https://hub.example.org:6440",
      ],
    ),
  )
    .argument("<name>", "what the fleet calls it")
    .option("--ttl <seconds>", "how long the token may be used, once", "86400")
    .option("--hub <url>", "where the cluster reaches the hub's API (default: as the kubeconfig does)")
    .action(async (name: string, options: CreateOptions) => {
      const seconds = secondsOf("--ttl", options.ttl);
      const { client } = await connect(options);
      const { transport } = await loadKubeconfig(
        options.kubeconfig ?? join(dataDirectory(options), "kubeconfig"),
        options.context,
      );
      const server = options.hub ?? transport.server;
      if (!URL.canParse(server)) throw new InputError(`--hub ${JSON.stringify(server)} is no URL`);
      await enrolCluster(client, { name, labels: labelsOf(options.label), place: placeOf(options) });
      const { caPem } = transport;
      if (caPem !== undefined) await publishClusterInfo(client, clusterInfoOf(server, caPem));
      const { token } = await registrationToken(client, name, seconds);
      const words = [
        `argosy clusters register ${name} --hub ${server}`,
        ...(caPem === undefined ? [] : [`--ca-hash ${authorityHash(caPem)}`]),
        `--token ${token}`,
        "--member-kubeconfig FILE",
      ];
      terminal.err(
        `where the kubeconfig of cluster ${name} is, within ${durationText(Math.max(seconds, 600) * 1000)}, once:\n`,
      );
      terminal.out(`${words.join(" ")}\n`);
    });
}

/** As kubeadm writes it. */
function clusterInfoOf(server: string, caPem: string): string {
  const cluster = { server, "certificate-authority-data": Buffer.from(caPem).toString("base64") };
  return dump({ apiVersion: "v1", kind: "Config", clusters: [{ name: "", cluster }] }, { lineWidth: -1 });
}

function revokeTokenCommand({ terminal }: CliContext): Command {
  return withConnection(
    commandWithExamples("revoke", "End the credentials of a cluster that fetches, at once; what is there stays.", [
      "argosy clusters token revoke paris",
    ]),
  )
    .argument("<name>", "the cluster")
    .action(async (name: string, options: ConnectionOptions) => {
      const { client } = await connect(options);
      if (await revokeCluster(client, name)) {
        terminal.out(`cluster ${name} has no way into the hub any more\n`);
        terminal.err("what it watches already it may see for ten minutes more: `argosy clusters leave` ends that\n");
        return;
      }
      const { spec } = await client.resource(ClusterKind).get(name);
      const why = spec?.syncMode === "Push" ? "it does not fetch, the hub delivers to it" : "they were revoked";
      throw new InputError(`cluster ${name} has no credentials of the hub's: ${why}`);
    });
}

interface RegisterOptions {
  readonly hub: string;
  readonly token: string;
  readonly caHash?: string;
  readonly hubCa?: string;
  readonly memberKubeconfig: string;
  readonly memberContext?: string;
  readonly endpoint?: string;
  readonly ingressAddress?: string;
  readonly namespace: string;
  readonly rights: string;
  readonly image?: string;
  readonly nodePort?: string;
  readonly deploy: boolean;
  readonly timeout: string;
}

/** `argosy clusters register`: where the member is. */
export function registerCommand(context: CliContext): Command {
  return commandWithExamples(
    "register",
    "Bring a cluster in by pull: an agent in it fetches what the hub has for it.",
    [
      "argosy clusters token create paris      # on the hub: prints the whole command",
      "argosy clusters register paris --hub https://hub:6440 --ca-hash sha256:… --token … --member-kubeconfig paris.kubeconfig",
    ],
  )
    .argument("<name>", "what the fleet calls it")
    .requiredOption("--hub <url>", "the hub's API")
    .requiredOption("--token <token>", "of `argosy clusters token create`")
    .option("--ca-hash <hash>", "sha256:… of the hub's authority, which is then fetched from the hub")
    .option("--hub-ca <file>", "the hub's authority (default: by --ca-hash, else the system's authorities)")
    .requiredOption("--member-kubeconfig <file>", "an administrator's way into the cluster")
    .option("--member-context <name>", "context of that file (default: its current one)")
    .option("--endpoint <url>", "the cluster's API for those who may reach it (default: as that file does)")
    .option("--ingress-address <host:port>", "where the hub's gateway reaches the cluster's models")
    .option("--namespace <name>", "of the agent", "argosy-system")
    .option("--rights <which>", "what the agent may do there: all, or delivery (what model services need)", "all")
    .option("--image <image>", "of `argosy images` (default: this program's version)")
    .option("--node-port <port>", "port of every node that leads to its gateway (default: none)")
    .option("--no-deploy", "keep the credential in the cluster, and say how to run the agent elsewhere")
    .option("--timeout <seconds>", "how long to wait until it is Ready", "120")
    .action((name: string, options: RegisterOptions) => register(context, name, options));
}

async function register({ terminal }: CliContext, name: string, options: RegisterOptions): Promise<void> {
  const timeoutMs = secondsOf("--timeout", options.timeout) * 1000;
  if (!URL.canParse(options.hub)) throw new InputError(`--hub ${JSON.stringify(options.hub)} is no URL`);
  const isNear = LOOPBACK.test(new URL(options.hub).hostname);
  const manifests = options.deploy && !isNear ? await agentManifests(name, options) : [];
  const caPem = await authorityOf(options);
  const hubAddress = { server: options.hub, ...(caPem === undefined ? {} : { caPem }) };
  const { member, server } = await wayInto(options.memberKubeconfig, options.memberContext);
  const { namespace, ingressAddress } = options;
  const credential = await registerMember({
    name,
    hub: clientFor({ ...hubAddress, token: options.token }),
    hubAddress,
    member,
    namespace,
    endpoint: options.endpoint ?? server,
    ...(ingressAddress === undefined ? {} : { ingressAddress }),
  });
  terminal.out(`cluster ${name} is registered; its credential is Secret ${namespace}/argosy-hub there\n`);
  if (!options.deploy || isNear) {
    if (options.deploy) terminal.out(`pods there cannot reach ${options.hub}, so the agent is run on this machine:\n`);
    const words = `argosy agent --level cluster --pull --cluster ${name} --namespace ${namespace}`;
    const inContext = options.memberContext === undefined ? "" : ` --context ${options.memberContext}`;
    terminal.out(`${words} --kubeconfig ${options.memberKubeconfig}${inContext}\n`);
    return;
  }
  for (const manifest of manifests) await apply(member, manifest);
  await awaitReady(
    { client: clientFor({ ...hubAddress, token: credential.token }), clock: systemClock },
    name,
    timeoutMs,
  );
  terminal.out(`its agent runs there, and it is Ready\n`);
}

function clientFor(transport: Parameters<typeof httpTransport>[0]): ApiClient {
  return createClient({ transport: httpTransport(transport), clock: systemClock, random: systemRandom });
}

async function agentManifests(cluster: string, options: RegisterOptions): Promise<JsonObject[]> {
  const { namespace, rights, image, nodePort } = options;
  if (rights !== "all" && rights !== "delivery")
    throw new InputError(`--rights ${JSON.stringify(rights)}: all or delivery`);
  if (nodePort !== undefined && !/^\d{1,5}$/.test(nodePort))
    throw new InputError(`--node-port ${JSON.stringify(nodePort)} is no port`);
  const level = "cluster";
  return [
    ...describeRights({ level, namespace, installCrds: true, pull: rights }),
    ...agentDeployment({
      level,
      cluster,
      namespace,
      image: image ?? `argosy.dev/argosy:${(await productVersion()).argosy}`,
      options: ["--pull"],
      ...(nodePort === undefined ? {} : { nodePort: Number(nodePort) }),
    }),
  ];
}

/** The hub's authority: from a file, or from the hub itself where it is the one that the hash names. */
async function authorityOf({ hub, caHash, hubCa }: RegisterOptions): Promise<string | undefined> {
  if (hubCa !== undefined) return readFile(hubCa, "utf8");
  if (caHash === undefined) return undefined;
  const client = clientFor({ server: hub, insecureSkipTlsVerify: true });
  const { namespace, name, key } = CLUSTER_INFO;
  const path = `/api/v1/namespaces/${namespace}/configmaps/${name}`;
  let caPem: string;
  try {
    const answer = asObject(asObject(await client.json("GET", path))["data"]);
    const { clusters } = asObject(load(asString(answer[key])));
    const cluster = asObject(asObject(Array.isArray(clusters) ? clusters[0] : undefined)["cluster"]);
    caPem = Buffer.from(asString(cluster["certificate-authority-data"]), "base64").toString("utf8");
  } catch (error) {
    throw new ArgosyError(
      "NoAuthority",
      `the hub does not show its authority (${namespace}/${name}): ${messageOf(error)}; give it with --hub-ca FILE`,
    );
  } finally {
    await client.close();
  }
  const found = authorityHash(caPem);
  if (found !== caHash)
    throw new ArgosyError("WrongAuthority", `${hub} is not the hub that --ca-hash names: its authority is ${found}`);
  return caPem;
}

async function apply(client: ApiClient, manifest: JsonObject): Promise<void> {
  const { name, namespace, ...metadata } = asObject(manifest["metadata"]);
  const kind = await client.findKind(asString(manifest["apiVersion"]), asString(manifest["kind"]));
  if (kind === undefined) throw new InputError(`the cluster has no ${asString(manifest["kind"])}`);
  const inSpace = kind.namespaced ? { namespace: asString(namespace) } : {};
  await client
    .dynamic(kind)
    .apply(
      { ...manifest, metadata: { ...metadata, name: asString(name), ...inSpace } },
      { fieldManager: MANAGER, force: true, ...inSpace },
    );
}
