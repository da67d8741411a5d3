import {
  type Container,
  type Pod,
  parseQuantity,
  quantityToMillis,
  quantityToNumber,
} from "../../../kernel/kinds/index.js";
import { NodeError } from "../errors.js";
import type { ResourceLimits } from "../isolation/cgroup.js";
import type { ContainerUser } from "../runtime/types.js";

/** The bounds that a container's `resources` ask for. */
export function limitsOf(container: Container): ResourceLimits {
  const limits = container.resources?.limits ?? {};
  const requests = container.resources?.requests ?? {};
  const memory = limits["memory"];
  const cpu = limits["cpu"];
  const share = requests["cpu"] ?? cpu;
  return {
    pids: 4096,
    ...(memory === undefined ? {} : { memoryBytes: Math.ceil(quantityToNumber(parseQuantity(String(memory)))) }),
    ...(cpu === undefined ? {} : { cpuMillis: quantityToMillis(parseQuantity(String(cpu))) }),
    ...(share === undefined ? {} : { cpuRequestMillis: quantityToMillis(parseQuantity(String(share))) }),
  };
}

/** Who the container runs as: its own security context over the pod's over the image's. */
export function userOf(
  pod: Pod,
  container: Container,
  image: { readonly uid?: number; readonly gid?: number },
): ContainerUser {
  const ofPod = pod.spec.securityContext ?? {};
  const own = container.securityContext ?? {};
  const uid = own.runAsUser ?? ofPod.runAsUser ?? image.uid;
  const gid = own.runAsGroup ?? ofPod.runAsGroup ?? image.gid;
  const groups = [...(ofPod.supplementalGroups ?? []), ...(ofPod.fsGroup === undefined ? [] : [ofPod.fsGroup])];
  if ((own.runAsNonRoot ?? ofPod.runAsNonRoot) === true && (uid ?? 0) === 0) {
    throw new NodeError(
      "CreateContainerConfigError",
      `container has runAsNonRoot and image will run as root (pod: "${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})", container: ${container.name})`,
    );
  }
  return {
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(groups.length === 0 ? {} : { groups }),
    ...(own.readOnlyRootFilesystem === true ? { readOnlyRoot: true } : {}),
    ...(own.privileged === true ? { privileged: true } : {}),
    ...(own.allowPrivilegeEscalation === undefined ? {} : { allowPrivilegeEscalation: own.allowPrivilegeEscalation }),
    ...(own.capabilities?.add === undefined ? {} : { addCapabilities: own.capabilities.add }),
    ...(own.capabilities?.drop === undefined ? {} : { dropCapabilities: own.capabilities.drop }),
  };
}

/** What a pod asks for that no runtime here can give, in words. */
export function unsupportedWish(pod: Pod): string | undefined {
  const { spec } = pod;
  if (spec.hostPID === true) return "spec.hostPID: pods have process namespaces of their own here";
  if (spec.hostIPC === true) return "spec.hostIPC: pods have IPC namespaces of their own here";
  if (spec.shareProcessNamespace === true)
    return "spec.shareProcessNamespace: each container has its own process namespace here";
  if (spec.runtimeClassName !== undefined)
    return `spec.runtimeClassName: this node has no runtime class "${spec.runtimeClassName}"`;
  if (spec.os?.name === "windows") return "spec.os.name: this node runs Linux";
  if ((spec.securityContext?.sysctls ?? []).length > 0) return "spec.securityContext.sysctls: not set by this node";
  if ((spec.resourceClaims ?? []).length > 0) return "spec.resourceClaims: this node has no dynamic resources";
  const containers = [...(spec.initContainers ?? []), ...spec.containers];
  const tty = containers.find((container) => container.tty === true);
  if (tty !== undefined) return `containers[${tty.name}].tty: programs get no terminal here; use exec -t`;
  const block = containers.find((container) => (container.volumeDevices ?? []).length > 0);
  return block === undefined ? undefined : `containers[${block.name}].volumeDevices: this node has folders only`;
}
