import {
  type Container,
  type Pod,
  parseQuantity,
  quantityToMillis,
  quantityToNumber,
} from "../../../kernel/kinds/index.js";
import { NodeError } from "../errors.js";
import { identityOf } from "../images/identity.js";
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

/** `supplementalGroupsPolicy`, which the types of Kubernetes 1.30 do not have. */
function isStrict(context: object): boolean {
  return "supplementalGroupsPolicy" in context && context.supplementalGroupsPolicy === "Strict";
}

function groupsOf(context: NonNullable<Pod["spec"]["securityContext"]>, ofImage: readonly number[]): number[] {
  const { supplementalGroups = [], fsGroup } = context;
  return [...(isStrict(context) ? [] : ofImage), ...supplementalGroups, ...(fsGroup === undefined ? [] : [fsGroup])];
}

/** Who the container runs as: its own security context over the pod's over the image's. */
export function userOf(
  pod: Pod,
  container: Container,
  image: { readonly uid?: number; readonly gid?: number; readonly root?: string },
): ContainerUser {
  const ofPod = pod.spec.securityContext ?? {};
  const own = container.securityContext ?? {};
  const uid = own.runAsUser ?? ofPod.runAsUser ?? image.uid;
  const known = image.root === undefined ? { groups: [] } : identityOf(image.root, uid ?? 0);
  const isImageUser = own.runAsUser === undefined && ofPod.runAsUser === undefined;
  const gid = own.runAsGroup ?? ofPod.runAsGroup ?? (isImageUser ? image.gid : undefined) ?? known.gid;
  const groups = groupsOf(ofPod, known.groups);
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
    ...rightsOf(own),
    ...((own.seccompProfile ?? ofPod.seccompProfile)?.type === "RuntimeDefault" ? { filtersSystemCalls: true } : {}),
  };
}

function rightsOf(own: NonNullable<Container["securityContext"]>): ContainerUser {
  return {
    ...(own.readOnlyRootFilesystem === true ? { readOnlyRoot: true } : {}),
    ...(own.privileged === true ? { privileged: true } : {}),
    ...(own.procMount === "Unmasked" ? { unmaskedProc: true } : {}),
    ...(own.allowPrivilegeEscalation === undefined ? {} : { allowPrivilegeEscalation: own.allowPrivilegeEscalation }),
    ...(own.capabilities?.add === undefined ? {} : { addCapabilities: own.capabilities.add }),
    ...(own.capabilities?.drop === undefined ? {} : { dropCapabilities: own.capabilities.drop }),
  };
}
