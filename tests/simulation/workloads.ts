import type { ApiClient } from "../../src/kernel/client/index.js";
import type { JsonObject, Kind } from "../../src/kernel/kinds/index.js";
import { asObject, asObjects, asString } from "../../src/kernel/schema/index.js";
import { HyperMLServiceKind } from "../../src/modules/fleet/index.js";
import type { WorkloadGroup } from "./scenario.js";

/** Where everything of a scenario is. */
export const NAMESPACE = "demo";
const GROUP_LABEL = "simulation/group";

const kindOf = (group: string, version: string, kind: string, plural: string): Kind => ({
  group,
  version,
  kind,
  plural,
  namespaced: true,
});
const KINDS: Readonly<Record<WorkloadGroup["kind"], Kind>> = {
  ConfigMap: kindOf("", "v1", "ConfigMap", "configmaps"),
  Deployment: kindOf("apps", "v1", "Deployment", "deployments"),
  HyperMLService: HyperMLServiceKind,
};
const PolicyKind = kindOf("policy.karmada.io", "v1alpha1", "PropagationPolicy", "propagationpolicies");

const imageOf = (form: number): string => `registry.example/app:${form}`;

const metadataOf = (group: WorkloadGroup, index: number) => ({
  name: `${group.name}-${index}`,
  namespace: NAMESPACE,
  labels: { [GROUP_LABEL]: group.name },
});

/** An object of a group in its n-th form. */
function objectOf(
  group: WorkloadGroup,
  index: number,
  { form, clusters }: { form: number; clusters: readonly string[] },
) {
  const metadata = metadataOf(group, index);
  if (group.kind === "ConfigMap")
    return { apiVersion: "v1", kind: "ConfigMap", metadata, data: { form: `${form}`, text: "x".repeat(group.bytes) } };
  if (group.kind === "Deployment") {
    const labels = { app: metadata.name };
    const resources = { requests: { cpu: group.cpu } };
    const containers = [{ name: "app", image: imageOf(form), resources }];
    const spec = {
      replicas: group.replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers } },
    };
    return { apiVersion: "apps/v1", kind: "Deployment", metadata, spec };
  }
  const { spread = 1 } = group;
  const own = { name: metadata.name, namespace: NAMESPACE };
  const service = {
    apiVersion: "tensorstack.dev/v1beta1",
    kind: "MLService",
    metadata: own,
    spec: {
      default: `v${form}`,
      releases: [{ name: `v${form}`, predictor: { minReplicas: 1, model: { runtime: "any" } } }],
    },
  };
  const settings = { apiVersion: "v1", kind: "ConfigMap", metadata: own, data: { form: `${form}` } };
  const targets = Array.from(
    { length: Math.min(spread, clusters.length) },
    (_, place) => clusters[(index * spread + place) % clusters.length] ?? "",
  );
  return {
    apiVersion: "tensorstack.dev/v1beta1",
    kind: "HyperMLService",
    metadata,
    spec: { workloads: [{ clusters: targets, manifests: [settings, service] }] },
  };
}

/** Makes, changes and removes the objects of groups, as their owner would. */
export class Workloads {
  readonly #client: ApiClient;
  readonly #forms = new Map<string, number>();
  readonly groups: WorkloadGroup[] = [];

  constructor(client: ApiClient) {
    this.#client = client;
  }

  /** Objects that there are, `group/index`. */
  get names(): string[] {
    return [...this.#forms.keys()];
  }

  /** How many of these objects are given to clusters, and whether a manifest is of an earlier form of one. */
  get wanted(): {
    readonly bound: number;
    readonly hyper: number;
    readonly isStale: (manifest: JsonObject) => boolean;
  } {
    const kinds = this.names.map((name) => this.#groupOf(name).group);
    return {
      bound: kinds.filter(({ placement }) => placement !== undefined).length,
      hyper: kinds.filter(({ kind }) => kind === "HyperMLService").length,
      isStale: (manifest) => this.#isStale(manifest),
    };
  }

  /** Of objects that policies give to clusters. */
  #isStale(manifest: JsonObject): boolean {
    const { name, labels } = asObject(manifest["metadata"]);
    const group = this.groups.find((each) => each.name === asObject(labels)[GROUP_LABEL]);
    const form = this.#forms.get(asString(name).replace(/-(\d+)$/, "/$1"));
    if (group === undefined || form === undefined || group.kind !== manifest["kind"]) return false;
    if (group.kind === "ConfigMap") return asObject(manifest["data"])["form"] !== `${form}`;
    const { spec } = asObject(asObject(manifest["spec"])["template"]);
    return (
      group.kind === "Deployment" &&
      !asObjects(asObject(spec)["containers"]).some(({ image }) => image === imageOf(form))
    );
  }

  async add(group: WorkloadGroup, clusters: readonly string[]): Promise<void> {
    this.groups.push(group);
    if (group.placement !== undefined) {
      const { apiVersion, kind } = objectOf(group, 0, { form: 0, clusters });
      const resourceSelectors = [{ apiVersion, kind, labelSelector: { matchLabels: { [GROUP_LABEL]: group.name } } }];
      await this.#client.dynamic(PolicyKind).create(
        {
          apiVersion: "policy.karmada.io/v1alpha1",
          kind: "PropagationPolicy",
          metadata: { name: group.name, namespace: NAMESPACE },
          spec: { resourceSelectors, placement: group.placement },
        },
        { namespace: NAMESPACE },
      );
    }
    for (let index = 0; index < group.count; index += 1) {
      await this.#client
        .dynamic(KINDS[group.kind])
        .create(objectOf(group, index, { form: 1, clusters }) as never, { namespace: NAMESPACE });
      this.#forms.set(`${group.name}/${index}`, 1);
    }
  }

  async change(names: readonly string[], clusters: readonly string[]): Promise<void> {
    for (const name of names) {
      const { group, index } = this.#groupOf(name);
      const form = (this.#forms.get(name) ?? 0) + 1;
      this.#forms.set(name, form);
      const { apiVersion: _a, kind: _k, metadata: _m, ...patch } = objectOf(group, index, { form, clusters });
      await this.#client
        .dynamic(KINDS[group.kind])
        .patch(`${group.name}-${index}`, "merge", patch as unknown as JsonObject, { namespace: NAMESPACE });
    }
  }

  async remove(names: readonly string[]): Promise<void> {
    for (const name of names) {
      const { group, index } = this.#groupOf(name);
      this.#forms.delete(name);
      await this.#client.dynamic(KINDS[group.kind]).delete(`${group.name}-${index}`, { namespace: NAMESPACE });
    }
  }

  #groupOf(text: string): { readonly group: WorkloadGroup; readonly index: number } {
    const [name, index] = text.split("/");
    const group = this.groups.find((candidate) => candidate.name === name);
    if (group === undefined) throw new Error(`there is no group ${name}`);
    return { group, index: Number(index) };
  }
}
