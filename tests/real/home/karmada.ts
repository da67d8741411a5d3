import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadAll } from "js-yaml";
import { packageRoot } from "../../../src/kernel/assets/index.js";
import { type ApiClient, createClient, httpTransport } from "../../../src/kernel/client/index.js";
import { systemClock, systemRandom } from "../../../src/kernel/clock/index.js";
import type { JsonObject } from "../../../src/kernel/kinds/object.js";
import { freePorts } from "../../../src/testing/ports.js";
import { type RealStack, startStack } from "../../../src/testing/real-stack.js";
import { Programs } from "./programs.js";

/** Folders of built programs. */
export interface Built {
  readonly plane: string;
  readonly home: string;
}

/** A Kubernetes API that somebody may use and end. */
export interface RunningCluster {
  readonly stack: RealStack;
  readonly client: ApiClient;
  close(): Promise<void>;
}

/** A client of a stack as its administrator. */
export function clientOf({ url, caPem, token }: RealStack): ApiClient {
  const transport = httpTransport({ server: url, caPem, token });
  return createClient({ transport, clock: systemClock, random: systemRandom });
}

/** Applies an object by server-side apply, whatever its kind. */
export async function apply(client: ApiClient, object: JsonObject): Promise<void> {
  const { apiVersion, kind, metadata } = object as {
    apiVersion: string;
    kind: string;
    metadata: { name: string; namespace?: string };
  };
  const known = await client.findKind(apiVersion, kind);
  if (known === undefined) throw new Error(`the cluster serves no ${kind} of ${apiVersion}`);
  const { namespace } = metadata;
  await client
    .dynamic(known)
    .apply(
      { ...object, metadata },
      { fieldManager: "test", force: true, ...(namespace === undefined ? {} : { namespace }) },
    );
}

/** The API server of a hub has no controllers that make pods: there a Deployment is a template. */
const HUB_CONTROLLERS = "namespace,garbagecollector,serviceaccount-token,ttl-after-finished,clusterrole-aggregation";

/** How a Karmada differs from one with default flags. */
export interface KarmadaOptions {
  /** Absent: no scheduler, Works need none. */
  readonly scheduler?: Flags;
  readonly controllers?: Flags;
  readonly webhook?: Flags;
  readonly api?: Flags;
  readonly isDurable?: boolean;
  /** Definitions that are there before anybody looks for kinds; Karmada notices later ones every 30 s. */
  readonly kinds?: readonly JsonObject[];
}

type Flags = Readonly<Record<string, string>>;

/** A Karmada with all its processes. */
export interface RunningKarmada extends RunningCluster {
  pids(): readonly number[];
}

/**
 * A Karmada control plane on loopback, without members: etcd, kube-apiserver, and Karmada's aggregated API server, webhook and controllers.
 * Its definitions come from its module.
 */
export async function startKarmada({ plane, home }: Built, options: KarmadaOptions = {}): Promise<RunningKarmada> {
  const stack = await startStack(plane, {
    isWhole: true,
    flags: { "disable-admission-plugins": "StorageObjectInUseProtection,ServiceAccount", ...options.api },
    ...(options.isDurable === true ? { isDurable: true } : {}),
  });
  const programs = new Programs(stack.folder);
  const client = clientOf(stack);
  const close = async () => {
    await client.close();
    await programs.close();
    await stack.close();
  };
  try {
    await bringUp({ plane, home, options }, stack, client, programs);
  } catch (error) {
    await close();
    throw error;
  }
  return { stack, client, pids: () => [...stack.pids(), ...programs.pids()], close };
}

async function bringUp(
  { plane, home, options }: Built & { readonly options: KarmadaOptions },
  stack: RealStack,
  client: ApiClient,
  programs: Programs,
): Promise<void> {
  const { kubeconfig, folder, authority } = stack;
  const [kcm = 0, aggregated = 0, webhook = 0, ...health] = await freePorts(10);
  const certificates = join(folder, "webhook");
  mkdirSync(certificates);
  const server = await authority.issueServer(["localhost", "127.0.0.1"]);
  writeFileSync(join(certificates, "tls.crt"), server.certPem);
  writeFileSync(join(certificates, "tls.key"), server.keyPem, { mode: 0o600 });
  programs.start(join(plane, "kube-controller-manager"), {
    kubeconfig,
    controllers: HUB_CONTROLLERS,
    "bind-address": "127.0.0.1",
    "secure-port": String(kcm),
    "leader-elect": "false",
    "service-account-private-key-file": join(folder, "sa.key"),
    "root-ca-file": join(folder, "ca.crt"),
  });
  for (const object of aggregation(aggregated)) await apply(client, object);
  const local = (port: number | undefined) => `127.0.0.1:${port ?? 0}`;
  const values = { webhook, caBundle: Buffer.from(stack.caPem).toString("base64") };
  const definitions = readDefinitions(values);
  for (const object of [...definitions.kinds, ...(options.kinds ?? [])]) await apply(client, object);
  programs.start(join(home, "karmada-aggregated-apiserver"), {
    kubeconfig,
    "authentication-kubeconfig": kubeconfig,
    "authorization-kubeconfig": kubeconfig,
    "etcd-servers": etcdOf(stack),
    "tls-cert-file": join(certificates, "tls.crt"),
    "tls-private-key-file": join(certificates, "tls.key"),
    "bind-address": "127.0.0.1",
    "secure-port": String(aggregated),
    "cert-dir": folder,
  });
  programs.start(join(home, "karmada-webhook"), {
    kubeconfig,
    "bind-address": "127.0.0.1",
    "secure-port": String(webhook),
    "cert-dir": certificates,
    "health-probe-bind-address": local(health[0]),
    "metrics-bind-address": local(health[1]),
    ...options.webhook,
  });
  await programs.until("Karmada's Cluster API", async () => {
    await client.json("GET", "/apis/cluster.karmada.io/v1alpha1/clusters");
    return true;
  });
  for (const object of definitions.webhooks) await apply(client, object);
  programs.start(join(home, "karmada-controller-manager"), {
    kubeconfig,
    "leader-elect": "false",
    "health-probe-bind-address": local(health[2]),
    "metrics-bind-address": local(health[3]),
    ...options.controllers,
  });
  if (options.scheduler !== undefined)
    programs.start(join(home, "karmada-scheduler"), {
      kubeconfig,
      "leader-elect": "false",
      "enable-scheduler-estimator": "false",
      "health-probe-bind-address": local(health[4]),
      "metrics-bind-address": local(health[5]),
      ...options.scheduler,
    });
  await programs.until(
    "karmada-controller-manager",
    async () => (await fetch(`http://${local(health[2])}/healthz`)).ok,
  );
}

/** A cluster that is to be a member. */
export interface Joining {
  readonly name: string;
  readonly url: string;
  readonly caPem: string;
  /** Of an administrator. */
  readonly token: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Karmada enters a member with its administrator's token. */
export async function joinKarmada(client: ApiClient, member: Joining): Promise<void> {
  const { name, url, token, caPem, annotations = {} } = member;
  const secret = { name, namespace: "karmada-cluster" };
  await apply(client, {
    apiVersion: "v1",
    kind: "Secret",
    metadata: secret,
    stringData: { token, caBundle: caPem },
  });
  await apply(client, {
    apiVersion: "cluster.karmada.io/v1alpha1",
    kind: "Cluster",
    metadata: { name, annotations: { ...annotations } },
    spec: { syncMode: "Push", apiEndpoint: url, secretRef: secret, impersonatorSecretRef: secret },
  });
}

function etcdOf({ folder }: RealStack): string {
  const log = readFileSync(join(folder, "etcd.log"), "utf8");
  const url = /"advertise-client-urls":\["([^"]+)"/.exec(log)?.[1];
  if (url === undefined) throw new Error("etcd's log does not say where it listens");
  return url;
}

/** Karmada's Clusters are served by a program of its own; an ExternalName leads to it. */
function aggregation(port: number): JsonObject[] {
  const namespace = "karmada-system";
  const name = "karmada-aggregated-apiserver";
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "karmada-cluster" } },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name, namespace },
      spec: { type: "ExternalName", externalName: "localhost" },
    },
    {
      apiVersion: "apiregistration.k8s.io/v1",
      kind: "APIService",
      metadata: { name: "v1alpha1.cluster.karmada.io" },
      spec: {
        group: "cluster.karmada.io",
        version: "v1alpha1",
        groupPriorityMinimum: 2000,
        versionPriority: 10,
        insecureSkipTLSVerify: true,
        service: { name, namespace, port },
      },
    },
  ];
}

interface Definitions {
  readonly kinds: JsonObject[];
  readonly webhooks: JsonObject[];
}

/** The kinds and webhooks that Karmada's module brings, with the webhook's address filled in. */
function readDefinitions({ webhook, caBundle }: { webhook: number; caBundle: string }): Definitions {
  const cwd = join(packageRoot(), "tests", "real", "home", "stack");
  const where = ["list", "-m", "-f", "{{.Dir}}", "github.com/karmada-io/karmada"];
  const module = execFileSync("go", where, { cwd, encoding: "utf8" }).trim();
  const read = (file: string): JsonObject[] => {
    const text = readFileSync(file, "utf8")
      .replaceAll(/https:\/\/[^\s/"]+:443/g, `https://127.0.0.1:${webhook}`)
      .replaceAll("{{caBundle}}", caBundle);
    return loadAll(text).filter((one): one is JsonObject => typeof one === "object" && one !== null);
  };
  const folder = join(module, "charts", "karmada", "_crds");
  const patches = new Map(
    filesOf(join(folder, "patches"))
      .flatMap(read)
      .map((patch) => [nameOf(patch), patch]),
  );
  const kinds = filesOf(join(folder, "bases"))
    .flatMap(read)
    .map((kind) => ({ ...kind, spec: { ...specOf(kind), ...specOf(patches.get(nameOf(kind))) } }));
  return { kinds, webhooks: read(join(module, "artifacts", "deploy", "webhook-configuration.yaml")) };
}

const nameOf = ({ metadata }: JsonObject): string => (metadata as { name: string }).name;
const specOf = (object: JsonObject | undefined): JsonObject => (object?.["spec"] ?? {}) as JsonObject;

function filesOf(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesOf(path) : path.endsWith(".yaml") ? [path] : [];
  });
}
