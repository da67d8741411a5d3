import type { Json } from "../../../../kernel/kinds/index.js";
import { type FieldPlace, type FieldRule, honoured, textAt, valueIs } from "./types.js";

const scheduler = "the scheduler";
const admission = "filled in by the API server";

/** Sysctls that belong to a namespace of the pod, and that kubelet lets every pod set. */
const safeSysctls = new Set([
  "kernel.shm_rmid_forced",
  "net.ipv4.ip_local_port_range",
  "net.ipv4.tcp_syncookies",
  "net.ipv4.ping_group_range",
  "net.ipv4.ip_unprivileged_port_start",
  "net.ipv4.ip_local_reserved_ports",
  "net.ipv4.tcp_keepalive_time",
  "net.ipv4.tcp_fin_timeout",
  "net.ipv4.tcp_keepalive_intvl",
  "net.ipv4.tcp_keepalive_probes",
  "net.ipv4.tcp_rmem",
  "net.ipv4.tcp_wmem",
]);

const sysctlName = (value: Json): string => (typeof value === "string" ? value.replaceAll("/", ".") : "");

/** The machine's own value would change, not the pod's. */
function isShared(value: Json, { pod, node }: FieldPlace): boolean {
  const name = sysctlName(value);
  if (name.startsWith("net.")) return !node.ownNetwork || pod.spec.hostNetwork === true;
  return node.mode === "user" || pod.spec.hostIPC === true;
}

const scheduling: readonly FieldRule[] = [
  honoured("affinity", scheduler),
  honoured("nodeName", "the pod is this node's"),
  honoured("nodeSelector", scheduler),
  honoured("overhead", `${scheduler} and quotas count it`),
  honoured("preemptionPolicy", scheduler),
  honoured("priority", scheduler),
  honoured("priorityClassName", admission),
  honoured("schedulerName", scheduler),
  honoured("schedulingGates", scheduler),
  honoured("tolerations", `${scheduler}; eviction by taints`),
  honoured("topologySpreadConstraints", scheduler),
];

const life: readonly FieldRule[] = [
  honoured("activeDeadlineSeconds", "the pod ends as Failed, `DeadlineExceeded`"),
  honoured("automountServiceAccountToken", admission),
  {
    field: "imagePullSecrets",
    root: "ignored",
    user: "ignored",
    note: "images come from this machine's catalogue, no registry is asked: see docs/images.md",
  },
  {
    field: "os",
    value: { text: "another name than `linux`", test: (value) => textAt(value, "name") !== "linux" },
    root: "refused",
    user: "refused",
    rejection: "PodOSNotSupported",
    note: "this node runs Linux",
  },
  honoured("os", "must be `linux`"),
  honoured("readinessGates", "the pod is Ready when these conditions are true too"),
  {
    field: "resourceClaims",
    root: "refused",
    user: "refused",
    note: "this node has no dynamic resources; mount the device with a hostPath volume",
  },
  {
    field: "resources.limits",
    root: "ignored",
    user: "ignored",
    note: "limits hold by container: set containers[].resources.limits",
  },
  honoured("resources", scheduler),
  honoured("restartPolicy", "with a back-off of 10 s to 5 min"),
  {
    field: "runtimeClassName",
    root: "refused",
    user: "refused",
    note: "this node has one runtime and no classes of it; leave the field out",
  },
  honoured("serviceAccount", admission),
  honoured("serviceAccountName", "tokens are asked for in its name"),
  honoured("terminationGracePeriodSeconds", "stop signal, and KILL after it"),
];

const names: readonly FieldRule[] = [
  honoured("dnsConfig", "merged into the pod's /etc/resolv.conf"),
  honoured("dnsPolicy", "the pod's /etc/resolv.conf; services are found through /etc/hosts, whatever the policy"),
  honoured("enableServiceLinks", "variables that announce services"),
  honoured("hostAliases", "/etc/hosts"),
  honoured("hostname", "at most 63 letters of it"),
  honoured("hostnameOverride", "the host name"),
  honoured("setHostnameAsFQDN", "the host name, if it has at most 64 letters"),
  honoured("subdomain", "/etc/hosts"),
];

const namespaces: readonly FieldRule[] = [
  honoured("hostIPC", "System V and POSIX objects and /dev/shm of the machine"),
  honoured("hostNetwork", "address and ports of the machine"),
  honoured("hostPID", "processes of the machine are seen"),
  {
    field: "hostUsers",
    value: valueIs(false),
    root: "refused",
    user: "honoured",
    note: "as root, pods have the machine's users: leave the field out, or run Argosy as a plain user, where each container has a user namespace",
  },
  honoured("hostUsers", "as root the machine's users, as a plain user a user namespace of the container"),
  {
    field: "shareProcessNamespace",
    value: valueIs(true),
    root: "refused",
    user: "refused",
    note: "each container has its own process namespace here; put the programs into one container, or use hostPID",
  },
  honoured("shareProcessNamespace", "each container has its own process namespace"),
];

const plainUserGroups = "a plain user has no other groups to give; volumes are open to the pod's user";

/** Rules for the same field in the pod's and in a container's security context. */
function confinement(base: string): FieldRule[] {
  return [
    {
      field: `${base}.appArmorProfile`,
      value: { text: "`Localhost`", test: (value) => textAt(value, "type") === "Localhost" },
      root: "refused",
      user: "refused",
      rejection: "AppArmor",
      note: "this node loads no AppArmor profiles; use RuntimeDefault or leave the field out",
    },
    {
      field: `${base}.appArmorProfile`,
      value: { text: "`RuntimeDefault`", test: (value) => textAt(value, "type") === "RuntimeDefault" },
      root: "ignored",
      user: "ignored",
      note: "no AppArmor profile is loaded",
    },
    honoured(`${base}.appArmorProfile`, "unconfined"),
    {
      field: `${base}.seLinuxOptions`,
      root: "ignored",
      user: "ignored",
      note: "SELinux labels are not set",
    },
    {
      field: `${base}.seccompProfile`,
      value: { text: "`Localhost`", test: (value) => textAt(value, "type") === "Localhost" },
      root: "refused",
      user: "refused",
      note: "this node loads no seccomp profiles; use RuntimeDefault or leave the field out",
    },
    {
      field: `${base}.seccompProfile`,
      value: { text: "`RuntimeDefault`", test: (value) => textAt(value, "type") === "RuntimeDefault" },
      root: "ignored",
      user: "ignored",
      podman: "honoured",
      note: "system calls are filtered by podman only (`--runtime podman`); capabilities are dropped all the same",
    },
    honoured(`${base}.seccompProfile`, "unconfined"),
    {
      field: `${base}.windowsOptions`,
      root: "ignored",
      user: "ignored",
      note: "this node runs Linux",
    },
  ];
}

const security: readonly FieldRule[] = [
  ...confinement("securityContext"),
  { field: "securityContext.fsGroup", root: "honoured", user: "ignored", note: plainUserGroups },
  { field: "securityContext.fsGroupChangePolicy", root: "honoured", user: "ignored", note: plainUserGroups },
  honoured("securityContext.runAsGroup", "the program's group"),
  honoured("securityContext.runAsNonRoot", "a container that would run as root is not started"),
  honoured("securityContext.runAsUser", "the program's user; as a plain user by a second user namespace"),
  {
    field: "securityContext.seLinuxChangePolicy",
    root: "ignored",
    user: "ignored",
    note: "SELinux labels are not set",
  },
  { field: "securityContext.supplementalGroups", root: "honoured", user: "ignored", note: plainUserGroups },
  { field: "securityContext.supplementalGroupsPolicy", root: "honoured", user: "ignored", note: plainUserGroups },
  {
    field: "securityContext.sysctls[].name",
    value: { text: "not among kubelet's safe ones", test: (value) => !safeSysctls.has(sysctlName(value)) },
    root: "refused",
    user: "refused",
    rejection: "SysctlForbidden",
    note: "this node sets the sysctls only that kubelet calls safe",
  },
  {
    field: "securityContext.sysctls[].name",
    value: { text: "of a namespace that the pod shares with the machine", test: isShared },
    root: "refused",
    user: "refused",
    rejection: "SysctlForbidden",
    note: "the pod shares this namespace with the machine; run Argosy as root, and the pod without hostNetwork and hostIPC",
  },
  honoured("securityContext.sysctls", "set in the pod's namespaces before each container starts"),
  ...confinement("containers[].securityContext"),
];

/** Everything of a pod's spec but containers and volumes. */
export const podFields: readonly FieldRule[] = [...scheduling, ...life, ...names, ...namespaces, ...security];
