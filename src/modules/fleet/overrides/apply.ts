import { messageOf } from "../../../kernel/errors/index.js";
import { type JsonObject, labelSelectorMatches } from "../../../kernel/kinds/index.js";
import { asObject, asString, s, toJson } from "../../../kernel/schema/index.js";
import { textsOf } from "../interpreters/index.js";
import { karmadaJson } from "../karmada-json.js";
import { affinityMatches } from "../placement/index.js";
import type { ClusterFacts } from "../placement/types.js";
import type { ResourceSelector } from "../policies/kinds.js";
import { overridersSchema } from "../policies/schemas.js";
import { OverrideError } from "./errors.js";
import { withOverriders } from "./overriders.js";
import type { AppliedOverride, Overridden, OverridePolicyFacts, Overriders } from "./types.js";

/**
 * A manifest as one cluster is to get it. Policies of the whole cluster come first, then those of the object's namespace; of
 * each kind those that mean all objects, then by labels, then by name, and by their own name; later ones see what earlier ones
 * made, and win. Throws `OverrideError` when a rule does not fit the object: then nothing must be sent.
 */
export function applyOverrides(
  manifest: JsonObject,
  cluster: ClusterFacts,
  policies: readonly OverridePolicyFacts[],
): Overridden {
  const notes: string[] = [];
  const wide = policies.filter(({ namespace }) => namespace === "");
  const first = applyRules(manifest, rulesFor(manifest, cluster, wide), notes);
  const own = asString(asObject(manifest["metadata"])["namespace"]);
  const local = own === "" ? [] : policies.filter(({ namespace }) => namespace === own);
  const second = applyRules(first.manifest, rulesFor(first.manifest, cluster, local), notes);
  return { manifest: second.manifest, cluster: first.applied, namespaced: second.applied, notes };
}

interface Rule {
  readonly policy: OverridePolicyFacts;
  readonly overriders: Overriders;
}

function applyRules(
  manifest: JsonObject,
  rules: readonly Rule[],
  notes: string[],
): { manifest: JsonObject; applied: AppliedOverride[] } {
  let object = manifest;
  const applied: AppliedOverride[] = [];
  for (const { policy, overriders } of rules) {
    try {
      object = withOverriders(object, overriders, (text) => notes.push(`${describe(policy)}: ${text}`));
    } catch (error) {
      if (!(error instanceof OverrideError)) throw error;
      throw new OverrideError(`${describe(policy)}: ${messageOf(error)}`, { cause: error });
    }
    applied.push({ policyName: policy.name, overriders });
  }
  return { manifest: object, applied };
}

function describe({ namespace, name }: OverridePolicyFacts): string {
  return namespace === "" ? `ClusterOverridePolicy ${name}` : `OverridePolicy ${namespace}/${name}`;
}

/** The rules that mean this object in this cluster, in the order of application. */
function rulesFor(object: JsonObject, cluster: ClusterFacts, policies: readonly OverridePolicyFacts[]): Rule[] {
  return policies
    .map((policy) => ({ policy, rank: rankOf(object, policy.spec.resourceSelectors ?? []) }))
    .filter(({ rank }) => rank > 0)
    .toSorted((a, b) => a.rank - b.rank || (a.policy.name < b.policy.name ? -1 : 1))
    .flatMap(({ policy }) => {
      const { overrideRules = [], targetCluster, overriders = {} } = policy.spec;
      const older = { overriders, ...(targetCluster === undefined ? {} : { targetCluster }) };
      return (overrideRules.length === 0 ? [older] : overrideRules)
        .filter((rule) => affinityMatches(rule.targetCluster, cluster))
        .map((rule) => ({ policy, overriders: rule.overriders }));
    });
}

/** How closely selectors mean an object: 0 not, 1 as all, 2 by its labels, 3 by its name. No selectors mean all. */
function rankOf(object: JsonObject, selectors: readonly ResourceSelector[]): number {
  if (selectors.length === 0) return 1;
  return Math.max(...selectors.map((selector) => selectorRank(object, selector)));
}

function selectorRank(object: JsonObject, selector: ResourceSelector): number {
  const metadata = asObject(object["metadata"]);
  const { apiVersion, kind, namespace = "", name = "", labelSelector } = selector;
  if (object["apiVersion"] !== apiVersion || object["kind"] !== kind) return 0;
  if (namespace !== "" && metadata["namespace"] !== namespace) return 0;
  if (name !== "") return metadata["name"] === name ? 3 : 0;
  if (labelSelector === undefined) return 1;
  return labelSelectorMatches(labelSelector, textsOf(metadata["labels"])) ? 2 : 0;
}

/** What a Work's annotation tells of the rules that made it; by policy. */
export function describeApplied(applied: readonly AppliedOverride[]): string {
  const rules = applied.toSorted((a, b) => (a.policyName < b.policyName ? -1 : a.policyName > b.policyName ? 1 : 0));
  return karmadaJson(toJson(rules), appliedSchema.schema);
}

const appliedSchema = s.array(s.object({ policyName: s.string(), overriders: overridersSchema }));
