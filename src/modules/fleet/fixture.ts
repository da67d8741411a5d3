import { checksOf } from "../../cluster/apiserver/index.js";
import type { GatewayDriver, GatewayPart, GatewayState } from "../../dataplane/gateway/index.js";
import { type Clock, seededRandom, systemClock, type VirtualClock } from "../../kernel/clock/index.js";
import { type ClusterAccess, createManager } from "../../kernel/control/index.js";
import { InputError } from "../../kernel/errors/index.js";
import {
  ClusterRoleBindingKind,
  ClusterRoleKind,
  type Draft,
  defineKind,
  type JsonObject,
  type KindDefinition,
  NamespaceKind,
  type Resource,
} from "../../kernel/kinds/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import type { PolicyRule } from "../../kernel/module/types.js";
import { s } from "../../kernel/schema/index.js";
import { memoryLedger } from "../../stores/ledger/index.js";
import { startTestCluster, type TestCluster } from "../../testing/index.js";
import { ResourceInterpreterCustomizationKind } from "./interpreters/index.js";
import {
  type Cluster,
  ClusterKind,
  HeadIngressKind,
  type HyperMLService,
  HyperMLServiceKind,
  WorkKind,
} from "./kinds.js";
import {
  ENGINE_KINDS as ALL_ENGINE_KINDS,
  createFleetModule,
  DELIVERY_RULES,
  type FleetOptions,
  TEMPLATE_RULES,
} from "./module.js";
import { RevisionContentsKind } from "./rollout/contents-kind.js";
import { HyperRolloutKind } from "./rollout/kind.js";

/** For tests: the shape of MLService as far as the fleet looks at it. */
export const TestServiceKind: KindDefinition<Resource<JsonObject, JsonObject>> = defineKind({
  group: "tensorstack.dev",
  version: "v1beta1",
  kind: "MLService",
  plural: "mlservices",
  description: "test",
  spec: s.preserveUnknown(),
  status: s.preserveUnknown().optional(),
});
/** For tests: MLServiceRuntime. */
export const TestRuntimeKind: KindDefinition<Resource<JsonObject>> = defineKind({
  group: "tensorstack.dev",
  version: "v1beta1",
  kind: "MLServiceRuntime",
  plural: "mlserviceruntimes",
  description: "test",
  spec: s.preserveUnknown(),
});

/** For tests: what the hub serves besides, where Karmada's policies are carried out. */
export const ENGINE_KINDS: KindDefinition[] = ALL_ENGINE_KINDS.filter(
  (definition) => definition !== WorkKind && definition !== ClusterKind,
);

/** For tests: a gateway driver that keeps what it is given. */
export function recordingGateway(): GatewayDriver & {
  readonly parts: ReadonlyMap<string, GatewayPart>;
  state: GatewayState | undefined;
} {
  const parts = new Map<string, GatewayPart>();
  return {
    parts,
    state: undefined,
    start: async () => {},
    apply: async (source, part) => void parts.set(source, part),
    open: async () => {},
    partOf: (source) => parts.get(source),
    keep: async () => "/kept.pem",
    async observe() {
      throw new InputError("not in this test");
    },
    get lastState() {
      return this.state;
    },
    onActivators: () => () => {},
    onState: () => () => {},
    process: { running: true, pid: 1, adopted: false, restarts: 0, reason: "" },
    close: async () => {},
  };
}

/** For tests: the identity that controllers have. */
export const AGENT = { token: "agent-token", user: { username: "argosy:agent", groups: ["system:authenticated"] } };

/** For tests: a hub with running fleet controllers and its members. */
export interface TestFleet {
  readonly hub: TestCluster;
  readonly members: ReadonlyMap<string, TestCluster>;
  readonly ledger: ReturnType<typeof memoryLedger>;
  /** Members that are cut off: nothing is answered. */
  readonly cut: Set<string>;
  createHyper(
    name: string,
    spec: HyperMLService["spec"],
    annotations?: Record<string, string>,
  ): Promise<HyperMLService>;
  getHyper(name: string): Promise<HyperMLService>;
  close(): Promise<void>;
}

const HUB_KINDS: readonly KindDefinition[] = [
  HyperMLServiceKind,
  WorkKind,
  ClusterKind,
  HeadIngressKind,
  HyperRolloutKind,
  RevisionContentsKind,
  ResourceInterpreterCustomizationKind,
];

/** For tests: starts it. Members named in `missing` have no connection. */
export async function startFleet(
  names: readonly string[],
  options: {
    readonly gateway?: GatewayDriver;
    readonly fleet?: Partial<FleetOptions>;
    /** Default: the machine's. */
    readonly clock?: Clock | VirtualClock;
    /** Besides the fleet's own. */
    readonly hubKinds?: readonly KindDefinition[];
    /** Default: the two above. */
    readonly memberKinds?: readonly KindDefinition[];
    /** Members of another fleet, which closes them. */
    readonly shared?: ReadonlyMap<string, TestCluster>;
  } = {},
): Promise<TestFleet> {
  const clock = options.clock ?? systemClock;
  const cut = new Set<string>();
  const ledger = memoryLedger({ clock });
  const accesses = new Map<string, ClusterAccess>();
  const module = createFleetModule({
    members: (name) => accesses.get(name),
    gateway: options.gateway ?? recordingGateway(),
    ledger,
    headListener: { name: "head", host: "127.0.0.1", port: 0 },
    ingressListener: () => undefined,
    callTimeoutMs: 300,
    ...options.fleet,
  });
  const kinds = [...HUB_KINDS, ...(options.hubKinds ?? [])];
  const memberKinds = options.memberKinds ?? [TestServiceKind, TestRuntimeKind];
  const start = (name: string) => startTestCluster({ name, clock, kinds: memberKinds, tokens: [AGENT] });
  const { shared } = options;
  const others = await Promise.all(names.map(async (name) => shared?.get(name) ?? (await start(name))));
  const checks = checksOf(module.admission ?? [], () => agent);
  // No two hubs draw the same identifiers.
  const random = seededRandom(shared === undefined ? 1 : 2);
  const hub = await startTestCluster({ name: "hub", clock, random, kinds, tokens: [AGENT], checks });
  const agent: ClusterAccess = hub.as(AGENT.token);
  const members = new Map(others.map((member) => [member.name, member]));
  // Everything runs with the rights that the module asks for, and no more.
  for (const member of others) {
    if (shared === undefined) await grant(member, DELIVERY_RULES);
    accesses.set(
      member.name,
      cuttable(member.as(AGENT.token), () => cut.has(member.name)),
    );
  }
  await grant(hub, [...(module.rules.continuum ?? []), ...TEMPLATE_RULES]);
  const manager = createManager({ cluster: agent, clock, random: hub.random, log: silentLogger });
  for (const controller of module.controllers("continuum", agent)) manager.add(controller);
  manager.start();
  await fillHub(hub, names);
  return {
    hub,
    members,
    ledger,
    cut,
    ...hyperCalls(hub),
    close: () => closeAll([manager, hub, ...(shared === undefined ? members.values() : [])], clock),
  };
}

async function fillHub({ client }: TestCluster, names: readonly string[]): Promise<void> {
  const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "demo" }, spec: {} };
  await client.resource(NamespaceKind).create(namespace);
  for (const name of names) await client.resource(ClusterKind).create(clusterDraft(name));
}

/** One after the other; virtual time goes on meanwhile, for what ends only when time passes. */
async function closeAll(parts: readonly { close(): Promise<void> }[], clock: Clock | VirtualClock): Promise<void> {
  for (const part of parts) {
    const closed = part.close();
    if ("advance" in clock) await clock.advance(10_000);
    await closed;
  }
}

function hyperCalls(hub: TestCluster): Pick<TestFleet, "createHyper" | "getHyper"> {
  const { kind, group, version } = HyperMLServiceKind;
  const hypers = hub.client.resource(HyperMLServiceKind);
  const inDemo = { namespace: "demo" };
  return {
    createHyper: (name, spec, annotations = {}) =>
      hypers.create(
        { apiVersion: `${group}/${version}`, kind, metadata: { name, ...inDemo, annotations }, spec },
        inDemo,
      ),
    getHyper: (name) => hypers.get(name, inDemo),
  };
}

/** For tests: lets the agent do what the rules say. */
export async function grant(cluster: TestCluster, rules: readonly PolicyRule[]): Promise<void> {
  const name = "test-agent";
  const group = "rbac.authorization.k8s.io";
  await cluster.client.resource(ClusterRoleKind).create({
    apiVersion: `${group}/v1`,
    kind: "ClusterRole",
    metadata: { name },
    rules: JSON.parse(JSON.stringify(rules)),
  });
  await cluster.client.resource(ClusterRoleBindingKind).create({
    apiVersion: `${group}/v1`,
    kind: "ClusterRoleBinding",
    metadata: { name },
    roleRef: { apiGroup: group, kind: "ClusterRole", name },
    subjects: [{ kind: "User", name: AGENT.user.username, apiGroup: group }],
  });
}

/** For tests: a Cluster object. */
export function clusterDraft(name: string, annotations: Record<string, string> = {}): Draft<Cluster> {
  return {
    apiVersion: "cluster.karmada.io/v1alpha1",
    kind: "Cluster",
    metadata: { name, annotations },
    spec: { syncMode: "Push" },
  };
}

/** A request that nobody answers: it ends when its signal does, as on the wire. */
function hanging(args: readonly unknown[]): Promise<never> {
  const signals = args.flatMap((arg) => {
    const signal: unknown = typeof arg === "object" && arg !== null ? Reflect.get(arg, "signal") : undefined;
    return signal instanceof AbortSignal ? [signal] : [];
  });
  return new Promise((_resolve, reject) => {
    for (const signal of signals) signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** An access whose requests hang while it is cut. */
function cuttable(member: ClusterAccess, isCut: () => boolean): ClusterAccess {
  const { client } = member;
  const guard = <T extends object>(target: T): T =>
    new Proxy(target, {
      get(object, name) {
        const value: unknown = Reflect.get(object, name);
        if (typeof value !== "function") return value;
        return (...args: unknown[]): unknown => {
          if (isCut()) return hanging(args);
          const result: unknown = Reflect.apply(value, object, args);
          return name === "resource" || name === "dynamic" ? guard(toObject(result)) : result;
        };
      },
    });
  const transport = guard(client.transport);
  const guarded = guard(client);
  return {
    name: member.name,
    informers: member.informers,
    client: new Proxy(guarded, {
      get: (object, name) => (name === "transport" ? transport : Reflect.get(object, name)),
    }),
  };
}

function toObject(value: unknown): object {
  if (typeof value !== "object" || value === null) throw new InputError("not an object");
  return value;
}

/** For tests: waits until a condition holds; what it threw last is in the failure. */
export async function eventually<T>(
  look: () => Promise<T> | T,
  isTrue: (value: T) => boolean,
  what: string,
): Promise<T> {
  let last: T | undefined;
  for (let attempt = 0; attempt < 1500; attempt++) {
    last = await look();
    if (isTrue(last)) return last;
    await systemClock.sleep(10);
  }
  throw new InputError(`never came true: ${what}; last seen: ${JSON.stringify(last)?.slice(0, 2000)}`);
}
