import type { ClusterAccess, Informer } from "../../../kernel/control/index.js";
import type { OverridePolicyFacts } from "../overrides/index.js";
import { ClusterOverridePolicyKind, type OverridePolicy, OverridePolicyKind } from "../policies/kinds.js";
import type { BindingSpec, ResourceBinding } from "./kinds.js";

/** The override policies of a hub, and whom they may mean. */
export class OverrideWatch {
  readonly #namespaced: Informer<OverridePolicy>;
  readonly #cluster: Informer<OverridePolicy>;

  constructor(hub: ClusterAccess) {
    this.#namespaced = hub.informers.informer(OverridePolicyKind);
    this.#cluster = hub.informers.informer(ClusterOverridePolicyKind);
  }

  async synced(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#namespaced.synced(signal), this.#cluster.synced(signal)]);
  }

  /** Those that may mean the object of a binding. */
  about({ resource }: BindingSpec): OverridePolicyFacts[] {
    const own = resource.namespace === undefined ? [] : this.#namespaced.list(resource.namespace);
    return [...this.#cluster.list(), ...own]
      .filter((policy) => mayMean(policy, resource))
      .map(({ metadata: { name, namespace = "" }, spec }) => ({ name, namespace, spec }));
  }

  /** Calls `handler` with the bindings that the change of an override may concern. Returns its removal. */
  onChange(bindings: Informer<ResourceBinding>, handler: (binding: ResourceBinding) => void): () => void {
    const tell = (now: OverridePolicy | undefined, old: OverridePolicy | undefined): void => {
      const policies = [now, old].filter((policy) => policy !== undefined);
      if (now !== undefined && now.metadata.generation === old?.metadata.generation) return;
      const { namespace } = policies[0]?.metadata ?? {};
      for (const binding of bindings.list(namespace))
        if (policies.some((policy) => mayMean(policy, binding.spec.resource))) handler(binding);
    };
    const undo = [this.#namespaced.onChange(tell), this.#cluster.onChange(tell)];
    return () => {
      for (const each of undo) each();
    };
  }
}

/** By all but labels: they are looked at when it is applied. */
function mayMean({ spec }: OverridePolicy, resource: BindingSpec["resource"]): boolean {
  const { resourceSelectors } = spec;
  return (
    resourceSelectors === undefined ||
    resourceSelectors.length === 0 ||
    resourceSelectors.some(
      ({ apiVersion, kind, namespace = "", name = "" }) =>
        apiVersion === resource.apiVersion &&
        kind === resource.kind &&
        (name === "" || name === resource.name) &&
        (namespace === "" || namespace === resource.namespace),
    )
  );
}
