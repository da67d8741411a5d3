import type { Pod } from "../../../kernel/kinds/index.js";
import type { SandboxSpec } from "../runtime/types.js";
import { kernelHostnameOf } from "./names.js";

/** What the runtime makes for a pod before its containers. Throws `FailedCreatePodSandBox` for an impossible host name. */
export function sandboxSpecOf(pod: Pod, clusterDomain: string): SandboxSpec {
  const { metadata, spec } = pod;
  return {
    uid: metadata.uid,
    namespace: metadata.namespace ?? "default",
    name: metadata.name,
    hostname: kernelHostnameOf(pod, clusterDomain),
    hostNetwork: spec.hostNetwork === true,
    hostPid: spec.hostPID === true,
    hostIpc: spec.hostIPC === true,
    sysctls: (spec.securityContext?.sysctls ?? []).map(
      ({ name, value }) => [name.replaceAll("/", "."), value] as const,
    ),
  };
}
