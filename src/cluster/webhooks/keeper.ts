import type { ApiClient } from "../../kernel/client/index.js";
import type { ControllerSpec, ReconcileContext } from "../../kernel/control/index.js";
import { ApiError } from "../../kernel/errors/index.js";
import {
  ClusterRoleKind,
  type JsonObject,
  type Kind,
  type KubeObject,
  LeaseKind,
  MutatingWebhookConfigurationKind,
  type OwnerReference,
  type ValidatingWebhookConfiguration,
  ValidatingWebhookConfigurationKind,
} from "../../kernel/kinds/index.js";
import type { PolicyRule } from "../../kernel/module/types.js";
import { asObject, asString } from "../../kernel/schema/index.js";
import type { ObjectCheck } from "../apiserver/index.js";
import { COMPLETE_PATH, type HookPlace, hooksFor, PROBE, probeOnly } from "./configurations.js";

/** What keeps the configurations. */
export interface KeeperOptions {
  /** Of both configurations; the ClusterRole of this name, if there is one, takes them along when it is deleted. */
  readonly name: string;
  /** In which a Lease may be written. */
  readonly namespace: string;
  readonly checks: readonly ObjectCheck[];
  readonly place: HookPlace;
  readonly caPem: string;
  /** What the webhook server refuses probes with. */
  readonly mark: string;
  /** How long the server may take to hear of a configuration; default 10 s. */
  readonly patienceMs?: number;
  /** Told at each look: the server asks, or why it does not. */
  readonly onState: (state: { readonly isAsked: boolean; readonly why: string }) => void;
}

/** Keeps the configurations as long as the API server reaches us, and takes them away when it does not. */
export interface AdmissionKeeper {
  readonly controller: ControllerSpec<ValidatingWebhookConfiguration>;
  /** Takes the configurations away where nobody else could answer for them: those that name this process. */
  withdraw(client: ApiClient): Promise<void>;
}

/** What an identity needs for it besides creating Leases in its namespace; `name` as above. */
export function webhookRules(name: string): PolicyRule[] {
  const resources = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];
  const apiGroups = ["admissionregistration.k8s.io"];
  return [
    // Neither what is not there yet nor a list has a name to allow by.
    { apiGroups, resources, verbs: ["create", "list", "watch"] },
    { apiGroups, resources, resourceNames: [name], verbs: ["get", "patch", "delete"] },
    { apiGroups: ["rbac.authorization.k8s.io"], resources: ["clusterroles"], resourceNames: [name], verbs: ["get"] },
  ];
}

const fieldManager = "argosy-admission";
const PATIENCE_MS = 10_000;
const PAUSE_MS = 250;
/** How often it is looked whether the server still reaches us. */
const AGAIN_MS = 30_000;

/**
 * A configuration that leads nowhere delays writes, or refuses them; so it is tried first, with one that is about nothing but a probe. The controller should run
 * with one holder of a lease at a time: the configurations name one process, or a Service.
 */
export function admissionKeeper(options: KeeperOptions): AdmissionKeeper {
  const { name } = options;
  const key = { namespace: "", name };
  const state = { isProven: false };
  const controller: ControllerSpec<ValidatingWebhookConfiguration> = {
    name: "admission-keeper",
    kind: ValidatingWebhookConfigurationKind,
    watches: [
      {
        kind: MutatingWebhookConfigurationKind,
        keys: ({ metadata }) => (metadata.name === name ? [key] : []),
      },
    ],
    keys: [key],
    concurrency: 1,
    async reconcile(found, object, context) {
      if (found.name !== name) return undefined;
      try {
        await keep(options, object, context, state);
      } catch (error) {
        if (!(error instanceof ApiError) || error.httpCode !== 403) throw error;
        options.onState({ isAsked: false, why: error.message });
      }
      return { requeueAfterMs: AGAIN_MS };
    },
  };
  return {
    controller,
    async withdraw(client) {
      const { place } = options;
      const found = await client.resource(ValidatingWebhookConfigurationKind).find(name);
      if ("url" in place && leadsTo(found, place)) await remove(client, name);
    },
  };
}

async function keep(
  options: KeeperOptions,
  object: ValidatingWebhookConfiguration | undefined,
  context: ReconcileContext<ValidatingWebhookConfiguration>,
  state: { isProven: boolean },
): Promise<void> {
  const { client } = context.cluster;
  const { name, place, onState } = options;
  const input = { ...options, ...(await ownerOf(client, name)) };
  const { mutating, validating } = hooksFor(input);
  const steps = state.isProven
    ? [{ bodies: [validating, mutating], path: COMPLETE_PATH }]
    : [
        { bodies: leadsTo(object, place) ? [] : [probeOnly(input)], path: "" },
        { bodies: [validating, mutating], path: COMPLETE_PATH },
      ];
  for (const { bodies, path } of steps) {
    for (const body of bodies)
      await apply(
        client,
        body === mutating ? MutatingWebhookConfigurationKind : ValidatingWebhookConfigurationKind,
        body,
      );
    if (await isAsked(options, path, context)) continue;
    state.isProven = false;
    await remove(client, name);
    const where = "url" in place ? place.url : `Service ${place.service.namespace}/${place.service.name}`;
    onState({ isAsked: false, why: `the API server does not reach ${where}` });
    return;
  }
  state.isProven = true;
  onState({ isAsked: true, why: "" });
}

async function apply(client: ApiClient, kind: Kind, body: JsonObject): Promise<void> {
  const { name } = asObject(body["metadata"]);
  const object = { ...body, metadata: { ...asObject(body["metadata"]), name: asString(name) } };
  await client.resource(kind).apply(object, { fieldManager, force: true });
}

async function remove(client: ApiClient, name: string): Promise<void> {
  for (const kind of [MutatingWebhookConfigurationKind, ValidatingWebhookConfigurationKind])
    await client.resource<KubeObject>(kind).delete(name);
}

function leadsTo(found: ValidatingWebhookConfiguration | undefined, place: HookPlace): boolean {
  return (found?.webhooks ?? []).some(({ clientConfig: { url, service } }) =>
    "url" in place
      ? url?.startsWith(`${place.url}/`) === true
      : service?.name === place.service.name && service.namespace === place.service.namespace,
  );
}

/** Whether the server asks us, with the question of this path (empty: whichever), within seconds. */
async function isAsked(
  { namespace, mark, patienceMs = PATIENCE_MS }: KeeperOptions,
  path: string,
  { cluster, clock, signal }: ReconcileContext<ValidatingWebhookConfiguration>,
): Promise<boolean> {
  const probe = {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { name: "argosy-admission-probe", namespace, labels: { [PROBE.key]: PROBE.value } },
    spec: {},
  };
  for (let leftMs = patienceMs; leftMs > 0; leftMs -= PAUSE_MS) {
    if (leftMs < patienceMs) await clock.sleep(PAUSE_MS, signal);
    try {
      await cluster.client.resource(LeaseKind).create(probe, { namespace, dryRun: true, signal });
    } catch (error) {
      if (!(error instanceof ApiError) || !error.message.includes(mark)) throw error;
      if (error.message.includes(`${mark} at ${path}`)) return true;
    }
  }
  return false;
}

async function ownerOf(client: ApiClient, name: string): Promise<{ readonly owner?: OwnerReference }> {
  try {
    const role = await client.resource(ClusterRoleKind).find(name);
    if (role === undefined) return {};
    const { uid } = role.metadata;
    return { owner: { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", name, uid } };
  } catch (error) {
    if (error instanceof ApiError && error.httpCode === 403) return {};
    throw error;
  }
}
