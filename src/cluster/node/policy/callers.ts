import { labelSelectorMatches, type Namespace, type NetworkPolicy, type Pod } from "../../../kernel/kinds/index.js";
import { addressToNumber } from "../network/leases.js";

/** What policies are held against: one cluster. */
export interface PolicyWorld {
  podsIn(namespace: string): readonly Pod[];
  /** In all namespaces; asked for by rules that name addresses. */
  pods(): readonly Pod[];
  namespaces(): readonly Namespace[];
}

type IngressRule = NonNullable<NetworkPolicy["spec"]["ingress"]>[number];
type Peer = NonNullable<IngressRule["from"]>[number];

/** Whether pods of other namespaces may have a part in what a policy says. */
export function looksElsewhere({ spec }: NetworkPolicy): boolean {
  return (spec.ingress ?? []).some(({ from = [] }) =>
    from.some(({ namespaceSelector, ipBlock }) => namespaceSelector !== undefined || ipBlock !== undefined),
  );
}

/** Whether a policy says who may come in; one that names no types does. */
function isForIngress({ spec }: NetworkPolicy): boolean {
  return spec.policyTypes === undefined || spec.policyTypes.includes("Ingress");
}

/** What a policy asks for beyond who may come in, in words; none of it is carried out here. */
export function notEnforced({ spec }: NetworkPolicy): string[] {
  const hasPorts = (spec.ingress ?? []).some(({ ports = [] }) => ports.length > 0);
  const isForEgress = spec.policyTypes?.includes("Egress") === true || (spec.egress ?? []).length > 0;
  return [
    ...(hasPorts ? ["spec.ingress.ports: whom a rule lets in may use every port"] : []),
    ...(isForEgress ? ["spec.egress: what pods call is not limited"] : []),
  ];
}

/**
 * By uid, the pods that policies are about, each with the uids of those that may call it, by the rules of networking.k8s.io/v1: policies add up, and a pod that none
 * is about is not in the answer, nor is one that everybody may call. Pods in the machine's own network are neither guarded nor told apart.
 */
export function callersOf(policies: readonly NetworkPolicy[], world: PolicyWorld): Map<string, ReadonlySet<string>> {
  const guarded = new Map<string, Set<string>>();
  const open = new Set<string>();
  for (const policy of policies.filter(isForIngress)) {
    const about = chosen(world.podsIn(policy.metadata.namespace ?? ""), policy.spec.podSelector ?? {});
    if (about.length === 0) continue;
    const callers = callersBy(policy, world);
    for (const { metadata } of about) {
      if (callers === "all") open.add(metadata.uid);
      else guarded.set(metadata.uid, new Set([...(guarded.get(metadata.uid) ?? []), ...callers]));
    }
  }
  for (const uid of open) guarded.delete(uid);
  return guarded;
}

function callersBy(policy: NetworkPolicy, world: PolicyWorld): "all" | Set<string> {
  const found = new Set<string>();
  for (const { from = [] } of policy.spec.ingress ?? []) {
    if (from.length === 0) return "all";
    for (const peer of from)
      for (const { metadata } of podsOf(peer, policy.metadata.namespace ?? "", world)) found.add(metadata.uid);
  }
  return found;
}

const isApart = ({ spec }: Pod): boolean => spec.hostNetwork !== true;
const chosen = (pods: readonly Pod[], selector: NonNullable<Peer["podSelector"]>): readonly Pod[] =>
  pods.filter((pod) => isApart(pod) && labelSelectorMatches(selector, pod.metadata.labels));

function podsOf(
  { ipBlock, podSelector = {}, namespaceSelector }: Peer,
  own: string,
  world: PolicyWorld,
): readonly Pod[] {
  if (ipBlock !== undefined) {
    const { cidr, except = [] } = ipBlock;
    return world.pods().filter((pod) => {
      const ip = pod.status?.podIP;
      return isApart(pod) && ip !== undefined && isWithin(ip, cidr) && !except.some((each) => isWithin(ip, each));
    });
  }
  const wanted =
    namespaceSelector === undefined
      ? [own]
      : world
          .namespaces()
          .filter(({ metadata }) => labelSelectorMatches(namespaceSelector, metadata.labels))
          .map(({ metadata }) => metadata.name);
  return wanted.flatMap((namespace) => chosen(world.podsIn(namespace), podSelector));
}

/** IPv4 only: pods have no other addresses. */
function isWithin(ip: string, cidr: string): boolean {
  const [base = "", length = "32"] = cidr.split("/");
  if (base.includes(":")) return false;
  const size = 2 ** (32 - Number(length));
  return Math.floor(addressToNumber(ip) / size) === Math.floor(addressToNumber(base) / size);
}
