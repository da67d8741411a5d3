import type { Pod } from "../../../kernel/kinds/index.js";
import { NodeError } from "../errors.js";

const maxLabel = 63;
/** Of the kernel. */
const maxHostname = 64;

/** The host name of a pod: its own or the pod's name, shortened as kubelet does. */
export function shortHostnameOf(pod: Pod): string {
  const { spec, metadata } = pod;
  const overridden = overrideOf(pod);
  if (overridden !== undefined) return overridden;
  return (spec.hostname ?? metadata.name).slice(0, maxLabel).replace(/[-.]+$/, "");
}

/** `spec.hostnameOverride`, which the types of Kubernetes 1.30 do not have. */
function overrideOf(pod: Pod): string | undefined {
  const spec: object = pod.spec;
  return "hostnameOverride" in spec && typeof spec.hostnameOverride === "string" ? spec.hostnameOverride : undefined;
}

/** The pod's name in the cluster's domain; `undefined` without a subdomain. */
export function domainNameOf(pod: Pod, clusterDomain: string): string | undefined {
  const { subdomain } = pod.spec;
  if (subdomain === undefined || subdomain === "" || overrideOf(pod) !== undefined) return undefined;
  return `${shortHostnameOf(pod)}.${subdomain}.${pod.metadata.namespace ?? "default"}.svc.${clusterDomain}`;
}

/** What `hostname` says in the pod. Throws `FailedCreatePodSandBox` for a full name that the kernel does not take. */
export function kernelHostnameOf(pod: Pod, clusterDomain: string): string {
  const full = pod.spec.setHostnameAsFQDN === true ? domainNameOf(pod, clusterDomain) : undefined;
  if (full === undefined) return shortHostnameOf(pod);
  if (full.length <= maxHostname) return full;
  throw new NodeError(
    "FailedCreatePodSandBox",
    `failed to construct FQDN from pod hostname and cluster domain, FQDN ${full} is too long (${maxHostname} characters is the max, ${full.length} characters requested): shorten hostname, subdomain or namespace, or leave setHostnameAsFQDN out`,
  );
}
