import type { Container, Pod } from "../../../kernel/kinds/index.js";

type Check = readonly [field: string, isSet: (pod: Pod) => boolean, why: string];

const containersOf = (pod: Pod): readonly Container[] => [...(pod.spec.initContainers ?? []), ...pod.spec.containers];
const some = (pod: Pod, test: (container: Container) => boolean): boolean => containersOf(pod).some(test);
const contexts = (pod: Pod) => [
  pod.spec.securityContext ?? {},
  ...containersOf(pod).map((each) => each.securityContext ?? {}),
];

/** Fields that a pod may have and this node does not carry out, because the pod is still right without them. */
const checks: readonly Check[] = [
  [
    "volumes[].emptyDir.sizeLimit",
    (pod) => (pod.spec.volumes ?? []).some((each) => each.emptyDir?.sizeLimit !== undefined),
    "sizes are not limited",
  ],
  [
    "containers[].ports[].hostPort",
    (pod) =>
      pod.spec.hostNetwork !== true && some(pod, (each) => (each.ports ?? []).some((port) => (port.hostPort ?? 0) > 0)),
    "use a Service of type NodePort",
  ],
  [
    "securityContext.seccompProfile",
    (pod) => contexts(pod).some((each) => ![undefined, "Unconfined"].includes(each.seccompProfile?.type)),
    "system calls are not filtered",
  ],
  [
    "securityContext.appArmorProfile",
    (pod) => contexts(pod).some((each) => ![undefined, "Unconfined"].includes(each.appArmorProfile?.type)),
    "no profile is loaded",
  ],
  [
    "securityContext.seLinuxOptions",
    (pod) => contexts(pod).some((each) => each.seLinuxOptions !== undefined),
    "labels are not set",
  ],
  [
    "dnsConfig, dnsPolicy None",
    (pod) => pod.spec.dnsConfig !== undefined || pod.spec.dnsPolicy === "None",
    "names come from /etc/hosts and the machine's resolver",
  ],
  ["setHostnameAsFQDN", (pod) => pod.spec.setHostnameAsFQDN === true, "the host name is the short one"],
  ["hostUsers: false", (pod) => pod.spec.hostUsers === false && process.getuid?.() === 0, "users are the machine's"],
  [
    "containers[].stdinOnce",
    (pod) => some(pod, (each) => each.stdinOnce === true),
    "input stays open when a client detaches",
  ],
  [
    "resources.limits.ephemeral-storage",
    (pod) => some(pod, (each) => each.resources?.limits?.["ephemeral-storage"] !== undefined),
    "disk use is not limited",
  ],
  [
    "securityContext.fsGroup",
    (pod) => pod.spec.securityContext?.fsGroup !== undefined && process.getuid?.() !== 0,
    "a plain user cannot change groups; volumes are open to the pod",
  ],
];

/** One sentence that names what is not carried out; `undefined` when everything is. */
export function ignoredFields(pod: Pod): string | undefined {
  const found = checks.filter(([, isSet]) => isSet(pod)).map(([field, , why]) => `${field} (${why})`);
  return found.length === 0 ? undefined : `this node does not carry out: ${found.join("; ")}`;
}
