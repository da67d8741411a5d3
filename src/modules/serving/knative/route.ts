import { syncStatus } from "../../../kernel/control/index.js";
import type {
  ControllerSpec,
  InformerSet,
  Key,
  ReconcileContext,
  ReconcileResult,
} from "../../../kernel/control/types.js";
import {
  controllerOf,
  DeploymentKind,
  EndpointSliceKind,
  IngressKind,
  isDeleting,
  type Kind,
  type KubeObject,
  ServiceKind,
} from "../../../kernel/kinds/index.js";
import { toJsonObject } from "../../../kernel/schema/index.js";
import { parseDurationMs, SCALING, standingOf } from "../autoscaling/index.js";
import { hostOf, insideOnly, urlOf, WEIGHTS_ANNOTATION } from "../children.js";
import { DOOR_LABEL, isOpenTo, THROUGH_ANNOTATION } from "../inside.js";
import {
  ConfigurationKind,
  KNATIVE_ANNOTATIONS,
  KNATIVE_LABELS,
  type Revision,
  RevisionKind,
  type Route,
  RouteKind,
} from "./kinds.js";
import {
  conditionsWith,
  isSaid,
  isTakenCareOf,
  type KnativeOptions,
  readyOf,
  type Said,
  Writer,
  YES,
} from "./parts.js";
import { deploymentName, revisionService } from "./revision.js";
import { readRevisionSpec } from "./template.js";
import {
  type Assigned,
  type Assignment,
  advanceRollout,
  assign,
  beginRollout,
  percents,
  type Rollout,
  readRollout,
  settledRollout,
  withoutGone,
} from "./traffic.js";

const NAME = "knative-route";
const UNSETTLED_MS = 500;
const SETTLED_MS = 30_000;
const HEALTH_PATH = "argosy.dev/health-path";

type Context = ReconcileContext<Route>;

/** Gives each Route its addresses: Ingresses with the shares of its Revisions, whose requests are held while they have no pod. */
export function routeController(options: KnativeOptions): ControllerSpec<Route> {
  const writer = new Writer(NAME);
  return {
    name: NAME,
    kind: RouteKind,
    owns: [IngressKind, ServiceKind],
    watches: [
      { kind: ConfigurationKind, keys: (object, informers) => routesOf(object, informers) },
      { kind: RevisionKind, keys: (object, informers) => routesOf(object, informers) },
      { kind: EndpointSliceKind, keys: behindGateway },
    ],
    async reconcile(_key, route, context) {
      if (route === undefined || isDeleting(route) || isTakenCareOf(context.cluster)) return undefined;
      return new RouteWork(route, { context, writer, options }).run();
    },
  };
}

/** The Route whose Service a slice leads through the gateway. */
function behindGateway(slice: KubeObject, informers: InformerSet): readonly Key[] {
  const { namespace = "", labels = {} } = slice.metadata;
  const name = labels[DOOR_LABEL];
  if (name === undefined) return [];
  const ingress = informers.informer(IngressKind).get({ namespace, name });
  return [{ namespace, name: ingress?.metadata.labels?.[KNATIVE_LABELS.route] ?? name }];
}

/** Any Route of the namespace may name it. */
function routesOf({ metadata }: KubeObject, informers: InformerSet): readonly Key[] {
  const namespace = metadata.namespace ?? "";
  return informers
    .informer(RouteKind)
    .list(namespace)
    .map((route) => ({ namespace, name: route.metadata.name }));
}

interface Tools {
  readonly context: Context;
  readonly writer: Writer;
  readonly options: KnativeOptions;
}

/** One look at one Route. */
class RouteWork {
  readonly #route: Route;
  readonly #tools: Tools;
  readonly #namespace: string;
  /** It has no address outside of the cluster. */
  readonly #isLocal: boolean;

  constructor(route: Route, tools: Tools) {
    this.#route = route;
    this.#tools = tools;
    this.#namespace = route.metadata.namespace ?? "";
    this.#isLocal = route.metadata.labels?.[KNATIVE_LABELS.visibility] === "cluster-local";
  }

  #urlOf(host: string, isLocal = this.#isLocal): string {
    const { address } = this.#tools.options;
    return isLocal
      ? `http://${host}.${this.#namespace}.svc.cluster.local`
      : urlOf(hostOf(host, this.#namespace, address), address);
  }

  async run(): Promise<ReconcileResult> {
    const { context } = this.#tools;
    const { name } = this.#route.metadata;
    const assignment = this.#assign();
    const url = this.#urlOf(name);
    const before = this.#route.status?.traffic ?? [];
    const rollout = assignment.missing === "" ? this.#rollout(assignment.targets) : undefined;
    const shares = rollout === undefined ? this.#withoutGone() : this.#shares(assignment.targets, rollout);
    const assigned = assignment.missing === "" ? YES : this.#unassigned(assignment, shares);
    const ingress = shares === undefined ? this.#unwritten(assigned) : await this.#write(shares, url);
    const traffic = shares === undefined ? before : shares.map((share) => this.#told(share));
    const said = { AllTrafficAssigned: assigned, IngressReady: ingress };
    const status = {
      observedGeneration: this.#route.metadata.generation ?? 0,
      conditions: conditionsWith(this.#route, said, context.clock.now()),
      url,
      address: { url: this.#urlOf(name, true) },
      traffic: [...traffic],
    };
    await syncStatus(context.cluster.client.resource(RouteKind), this.#route, status, NAME);
    if (rollout !== undefined) await this.#keep(rollout);
    const isSettled = assigned.status === "True" && ingress.status === "True";
    const stepMs =
      rollout !== undefined && rollout.parts.length > 1 ? rollout.nextAtMs - context.clock.now() : SETTLED_MS;
    return { requeueAfterMs: Math.max(100, Math.min(stepMs, isSettled ? SETTLED_MS : UNSETTLED_MS)) };
  }

  /** What cannot be assigned leaves the traffic where it was, but for Revisions that are gone: nobody would answer. `undefined`: all are there. */
  #withoutGone(): readonly Assigned[] | undefined {
    const before = (this.#route.status?.traffic ?? []).flatMap(({ revisionName, ...target }) =>
      revisionName === undefined ? [] : [{ ...target, revisionName }],
    );
    const isThere = (name: string): boolean => this.#revision(name) !== undefined;
    return before.every(({ revisionName }) => isThere(revisionName)) ? undefined : withoutGone(before, isThere);
  }

  #unwritten(assigned: Said): Said {
    const has = (this.#route.status?.traffic ?? []).length > 0;
    return has ? YES : { status: "Unknown", reason: "Waiting", message: assigned.message };
  }

  #unassigned({ reason, missing }: Assignment, left: readonly Assigned[] | undefined): Said {
    const isAnswered = left?.some(({ revisionName }) => this.#revision(revisionName) !== undefined);
    const instead = isAnswered === true ? "its share is divided among the others" : "nobody is left to answer";
    return {
      status: reason === "RevisionNotReady" || missing.includes("any ready") ? "Unknown" : "False",
      reason,
      message: left === undefined ? missing : `${missing}; ${instead}`,
    };
  }

  #revision(name: string): Revision | undefined {
    const found = this.#tools.context.cluster.informers
      .informer(RevisionKind)
      .get({ namespace: this.#namespace, name });
    return found === undefined || isDeleting(found) ? undefined : found;
  }

  #assign(): Assignment {
    const { informers } = this.#tools.context.cluster;
    const own = this.#route.spec.traffic?.find(
      ({ configurationName = "" }) => configurationName !== "",
    )?.configurationName;
    return assign(this.#route.spec.traffic ?? [], own, {
      isReady: (name) => {
        const revision = this.#revision(name);
        return revision === undefined ? undefined : readyOf(revision).status === "True";
      },
      latestReady: (name) => {
        const configuration = informers.informer(ConfigurationKind).get({ namespace: this.#namespace, name });
        return configuration === undefined ? undefined : (configuration.status?.latestReadyRevisionName ?? "");
      },
    });
  }

  /** How far the latest Revision's share has come. */
  #rollout(targets: readonly Assigned[]): Rollout {
    const nowMs = this.#tools.context.clock.now();
    const latest = targets.find(({ latestRevision, percent = 0 }) => latestRevision === true && percent > 0);
    const percent = latest?.percent ?? 0;
    const revision = latest?.revisionName ?? "";
    const settled = settledRollout(revision, percent);
    const known = readRollout(this.#route.metadata.annotations?.[KNATIVE_ANNOTATIONS.rollout]);
    const durationMs =
      parseDurationMs(this.#route.metadata.annotations?.[KNATIVE_ANNOTATIONS.rolloutDuration] ?? "0") ?? 0;
    const sum = known?.parts.reduce((total, part) => total + part.percent, 0);
    if (known === undefined || durationMs <= 0 || sum !== percent) return settled;
    if (known.parts.at(-1)?.revision === revision) return advanceRollout(known, nowMs);
    return beginRollout(known, revision, { percent, nowMs, durationMs, readyAfterMs: this.#readyAfterMs(revision) });
  }

  #readyAfterMs(name: string): number {
    const revision = this.#revision(name);
    const ready = revision?.status?.conditions?.find(({ type }) => type === "Ready")?.lastTransitionTime ?? "";
    const passedMs = Date.parse(ready) - Date.parse(revision?.metadata.creationTimestamp ?? "");
    return Number.isFinite(passedMs) ? Math.max(0, passedMs) : 0;
  }

  /** The shares as they are now: that of the latest Revision divided as its rollout has it. */
  #shares(targets: readonly Assigned[], { parts }: Rollout): readonly Assigned[] {
    let isDivided = false;
    return targets.flatMap((target) => {
      if (target.latestRevision !== true || (target.percent ?? 0) === 0 || isDivided || parts.length < 2)
        return [target];
      isDivided = true;
      const others = parts
        .slice(0, -1)
        .map(({ revision, percent }) => ({ revisionName: revision, percent, latestRevision: false }));
      return [...others, { ...target, percent: parts.at(-1)?.percent ?? 0 }];
    });
  }

  #told(share: Assigned): Assigned {
    const { configurationName: _own, ...rest } = share;
    if (rest.tag === undefined) return rest;
    return { ...rest, url: this.#urlOf(`${rest.tag}-${this.#route.metadata.name}`) };
  }

  /** The Ingress of the Route and one for each tag; those of tags that are gone go too. */
  async #write(shares: readonly Assigned[], url: string): Promise<Said> {
    const { name } = this.#route.metadata;
    const weights = Object.fromEntries(Object.entries(percents(shares)).filter(([, percent]) => percent > 0));
    const wanted = new Map<string, Record<string, number>>();
    if (Object.keys(weights).length > 0) wanted.set(name, weights);
    for (const { tag, revisionName } of shares)
      if (tag !== undefined) wanted.set(`${tag}-${name}`, { [revisionName]: 100 });
    for (const [host, parts] of wanted) {
      const ingress = this.#isLocal ? insideOnly(this.#ingress(host, parts)) : this.#ingress(host, parts);
      const written = await this.#tools.writer.write(IngressKind, this.#route, ingress, this.#tools.context);
      if (isSaid(written)) return written;
      const inside = this.#isLocal || host === name ? await this.#writeInside(host, parts) : undefined;
      if (inside !== undefined) return inside;
    }
    await this.#removeOthers(IngressKind, new Set(wanted.keys()));
    await this.#removeOthers(ServiceKind, new Set(this.#isLocal ? wanted.keys() : [name]));
    for (const revision of Object.keys(weights))
      if (this.#revision(revision) !== undefined) await this.#noteRouted(revision);
    return this.#answers(url, Object.keys(weights));
  }

  /**
   * `NAME.NAMESPACE.svc.cluster.local` leads through the gateway, as the address outside does: shares hold, and pods are woken. Until that way is open, and where
   * there is none, it leads to the pods of the Revision with the largest share.
   */
  async #writeInside(name: string, weights: Readonly<Record<string, number>>): Promise<Said | undefined> {
    const [main] = Object.entries(weights).toSorted(([, a], [, b]) => b - a)[0] ?? [];
    if (main === undefined) return undefined;
    const parts = readRevisionSpec(toJsonObject(this.#revision(main)?.spec ?? {}));
    const { selector, ...spec } = revisionService(main, parts);
    const isOpen = isOpenTo(this.#namespace, name, name, this.#tools.context.cluster.informers);
    const labels = { [KNATIVE_LABELS.route]: this.#route.metadata.name, [KNATIVE_LABELS.revision]: main };
    const wanted = {
      metadata: { name, labels, annotations: { [THROUGH_ANNOTATION]: name } },
      spec: isOpen ? spec : { ...spec, selector },
    };
    const written = await this.#tools.writer.write(ServiceKind, this.#route, wanted, this.#tools.context);
    return isSaid(written) ? written : undefined;
  }

  #ingress(host: string, weights: Readonly<Record<string, number>>) {
    const { address } = this.#tools.options;
    const revisions = Object.keys(weights);
    const specs = revisions.map((revision) => readRevisionSpec(toJsonObject(this.#revision(revision)?.spec ?? {})));
    const healthPath = specs.find((spec) => spec.healthPath !== undefined)?.healthPath;
    const most = (value: (spec: (typeof specs)[number]) => number): number => Math.max(...specs.map(value));
    const timeouts = {
      responseMs: most(({ responseStartMs, timeoutMs }) => responseStartMs || timeoutMs),
      requestMs: most(({ timeoutMs }) => timeoutMs),
    };
    const idleMs = most((spec) => spec.idleMs);
    const backend = { service: { name: revisions[0] ?? "", port: { number: 80 } } };
    return {
      metadata: {
        name: host,
        labels: { [KNATIVE_LABELS.route]: this.#route.metadata.name },
        annotations: {
          // For one that is gone there is nothing to wait for.
          [SCALING.activator]: revisions
            .filter((revision) => this.#revision(revision) !== undefined)
            .map(deploymentName)
            .join(","),
          [SCALING.timeouts]: JSON.stringify(idleMs > 0 ? { ...timeouts, idleMs } : timeouts),
          ...(specs.some(({ isHttp2 }) => isHttp2) ? { [SCALING.protocol]: "h2" } : {}),
          ...(revisions.length > 1 ? { [WEIGHTS_ANNOTATION]: JSON.stringify(weights) } : {}),
          ...(healthPath === undefined ? {} : { [HEALTH_PATH]: healthPath }),
        },
      },
      spec: {
        ingressClassName: "argosy",
        rules: [
          {
            host: hostOf(host, this.#namespace, address),
            http: { paths: [{ path: "/", pathType: "Prefix", backend }] },
          },
        ],
      },
    };
  }

  async #removeOthers<T extends KubeObject>(kind: Kind<T>, kept: ReadonlySet<string>): Promise<void> {
    const { cluster } = this.#tools.context;
    for (const { metadata } of cluster.informers.informer(kind).list(this.#namespace)) {
      if (kept.has(metadata.name) || controllerOf({ metadata })?.uid !== this.#route.metadata.uid) continue;
      await cluster.client.resource(kind).delete(metadata.name, { namespace: this.#namespace });
    }
  }

  /** The address answers: with a pod's answer, or by holding requests for pods that have run. */
  async #answers(url: string, revisions: readonly string[]): Promise<Said> {
    const { context, options } = this.#tools;
    const deployments = context.cluster.informers.informer(DeploymentKind);
    const isHeld = revisions.every((revision) => {
      const deployment = deployments.get({ namespace: this.#namespace, name: deploymentName(revision) });
      return (
        deployment !== undefined &&
        (deployment.status?.readyReplicas ?? 0) === 0 &&
        standingOf(deployment)?.hasRun === true
      );
    });
    // An address inside cannot be asked from here; Revisions have a share only when they are ready.
    if (isHeld || revisions.length === 0 || this.#isLocal) return YES;
    const result = await options.probe(`${url}/`, context.signal);
    const isRouters = "body" in result && /"reason":"(NoRoute|NoHealthyBackend|NeedsHttp2)"/.exec(result.body);
    if ("status" in result && (!isRouters || isRouters[1] === "NeedsHttp2")) return YES;
    const told = "error" in result ? result.error : `status ${result.status}: ${result.body.slice(0, 200)}`;
    return { status: "Unknown", reason: "NotAnswering", message: `${url} does not answer yet: ${told}` };
  }

  /** When a Revision was last given a share; by the hour, so that it is not written at every look. */
  async #noteRouted(name: string): Promise<void> {
    const { context } = this.#tools;
    const known = Date.parse(this.#revision(name)?.metadata.annotations?.[KNATIVE_ANNOTATIONS.lastRouted] ?? "");
    const nowMs = context.clock.now();
    if (nowMs - known < 3_600_000) return;
    const annotations = { [KNATIVE_ANNOTATIONS.lastRouted]: new Date(nowMs).toISOString() };
    const revisions = context.cluster.client.resource(RevisionKind);
    await revisions.patch(
      name,
      "merge",
      { metadata: { annotations } },
      { namespace: this.#namespace, fieldManager: NAME },
    );
  }

  async #keep(rollout: Rollout): Promise<void> {
    const text = JSON.stringify(rollout);
    const known = this.#route.metadata.annotations?.[KNATIVE_ANNOTATIONS.rollout];
    if (known === text || (known === undefined && rollout.parts[0]?.revision === "")) return;
    const { name } = this.#route.metadata;
    const annotations = { [KNATIVE_ANNOTATIONS.rollout]: text };
    const routes = this.#tools.context.cluster.client.resource(RouteKind);
    await routes.patch(
      name,
      "merge",
      { metadata: { annotations } },
      { namespace: this.#namespace, fieldManager: NAME },
    );
  }
}
