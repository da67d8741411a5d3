import type { Json } from "../../../../kernel/kinds/index.js";
import { type FieldRule, honoured, valueIs } from "./types.js";

const own = (field: string, note: string): FieldRule => honoured(`containers[].${field}`, note);

const program: readonly FieldRule[] = [
  own("args", "with `$(NAME)` replaced"),
  own("command", "with `$(NAME)` replaced"),
  own("env", "values, fields, resources, keys of ConfigMaps and Secrets"),
  {
    field: "containers[].env[].valueFrom.fileKeyRef",
    root: "refused",
    user: "refused",
    note: "variables do not come from files here; use a ConfigMap or Secret, or read the file in the command",
  },
  own("envFrom", "ConfigMaps and Secrets"),
  own("image", "from this machine's catalogue: docs/images.md; a change restarts the container"),
  own(
    "imagePullPolicy",
    "the catalogue is asked at each start; `Never` only changes the reason: all images are this machine's",
  ),
  own("name", "logs, exec and events go by it"),
  own("workingDir", "made where it is missing"),
  own("stdin", "open until the container ends, or with `stdinOnce` until the first client leaves"),
  own("stdinOnce", "the program reads the end of its input when the first client has left"),
  own(
    "tty",
    "a pseudo-terminal of the container's own: by podman, else by `script` or `python3` of the machine or image",
  ),
];

const life: readonly FieldRule[] = [
  own("lifecycle.postStart", "exec, httpGet, sleep"),
  own("lifecycle.preStop", "exec, httpGet, sleep; inside the grace period"),
  ...["postStart", "preStop"].map(
    (hook): FieldRule => ({
      field: `containers[].lifecycle.${hook}.tcpSocket`,
      root: "refused",
      user: "refused",
      note: "a connection is no hook, as in Kubernetes; use exec, httpGet or sleep",
    }),
  ),
  own("lifecycle.stopSignal", "sent instead of TERM"),
  own("livenessProbe", "exec, httpGet, tcpSocket, grpc"),
  own("readinessProbe", "exec, httpGet, tcpSocket, grpc"),
  own("startupProbe", "exec, httpGet, tcpSocket, grpc"),
  own("restartPolicy", "`Always` makes an init container a sidecar"),
  {
    field: "containers[].restartPolicyRules",
    root: "refused",
    user: "refused",
    note: "exit codes do not choose here; use spec.restartPolicy, or a Job's podFailurePolicy",
  },
  own("terminationMessagePath", "its last 4096 bytes are the message"),
  own("terminationMessagePolicy", "`FallbackToLogsOnError`: the last 80 lines, 2048 bytes, of the log"),
  {
    field: "containers[].targetContainerName",
    root: "ignored",
    user: "ignored",
    note: "each container has its own process namespace here; network and volumes are the pod's",
  },
];

const isOther = (name: string): boolean =>
  !["cpu", "memory", "ephemeral-storage"].includes(name) && !name.startsWith("hugepages-");

const namesOf = (value: Json): string[] =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? Object.keys(value) : [];

const resources: readonly FieldRule[] = [
  {
    field: "containers[].resizePolicy",
    root: "ignored",
    user: "ignored",
    value: { text: "`RestartContainer`", test: (value) => JSON.stringify(value).includes("RestartContainer") },
    note: "containers are not resized in place; delete the pod to have it made anew",
  },
  own(
    "resizePolicy",
    "running containers are not resized: an event `ResizeInfeasible` and the condition `PodResizePending` say so; the resources hold from the next start",
  ),
  {
    field: "containers[].resources.claims",
    root: "refused",
    user: "refused",
    note: "this node has no dynamic resources; mount the device with a hostPath volume",
  },
  {
    field: "containers[].resources.limits.cpu",
    value: { text: "where no cgroup can be made", test: (_, { node }) => !node.limits.has("cpu") },
    root: "ignored",
    user: "ignored",
    note: "CPU time is not limited: this machine lets Argosy make no cgroup; `argosy doctor` says what to do",
  },
  own("resources.limits.cpu", "a quota of the container's cgroup"),
  own(
    "resources.limits.memory",
    "a limit of the container's cgroup; where there is none, looked at every five seconds",
  ),
  own("resources.limits.ephemeral-storage", "the pod is evicted when it has written more; looked at every ten seconds"),
  {
    field: "containers[].resources.limits",
    value: { text: "`hugepages-…`", test: (value) => namesOf(value).some((name) => name.startsWith("hugepages-")) },
    root: "refused",
    user: "refused",
    note: "this node offers no huge pages; leave them out",
  },
  {
    field: "containers[].resources.limits",
    value: { text: "other resources, as `nvidia.com/gpu`", test: (value) => namesOf(value).some(isOther) },
    root: "ignored",
    user: "ignored",
    note: "the scheduler counts them, but no device is handed to the container; mount it with a hostPath volume",
  },
  own("resources.limits", "see above"),
  own("resources.requests", "the scheduler; CPU is the container's share"),
];

const isSet = { text: "more than 0", test: (value: Json): boolean => typeof value === "number" && value > 0 };

const ports: readonly FieldRule[] = [
  {
    field: "containers[].ports[].hostPort",
    value: {
      text: "without `hostNetwork`",
      test: (value, { pod }) => isSet.test(value) && pod.spec.hostNetwork !== true,
    },
    root: "ignored",
    user: "ignored",
    note: "no port of the machine is opened; use a Service of type NodePort, or hostNetwork",
  },
  own("ports[].hostIP", "with `hostPort`"),
  own("ports", "names for probes and Services"),
];

const security: readonly FieldRule[] = [
  own("securityContext.allowPrivilegeEscalation", "`false`: no_new_privs"),
  own(
    "securityContext.capabilities",
    "kept and dropped from a container's usual set; as a plain user inside its user namespace",
  ),
  {
    field: "containers[].securityContext.privileged",
    value: valueIs(true),
    root: "honoured",
    user: "refused",
    note: "all capabilities, devices of the machine, /proc and /sys writable: needs Argosy to run as root",
  },
  own("securityContext.privileged", "no more than a container's usual rights"),
  own("securityContext.procMount", "`Default`: parts of /proc are masked or read-only; `Unmasked`: they are not"),
  own("securityContext.readOnlyRootFilesystem", "only volumes can be written"),
  own("securityContext.runAsGroup", "the program's group"),
  own("securityContext.runAsNonRoot", "a container that would run as root is not started"),
  own("securityContext.runAsUser", "the program's user; as a plain user by a second user namespace"),
];

const mounts: readonly FieldRule[] = [
  {
    field: "containers[].volumeDevices",
    root: "refused",
    user: "refused",
    note: "this node has folders only, no block devices; use volumeMounts",
  },
  {
    field: "containers[].volumeMounts[].mountPropagation",
    value: valueIs("Bidirectional"),
    root: "refused",
    user: "refused",
    note: "mounts of a container do not reach the machine; use HostToContainer or None",
  },
  own(
    "volumeMounts[].mountPropagation",
    "`HostToContainer`: later mounts of the machine show in the container; `None`: they do not",
  ),
  own("volumeMounts[].recursiveReadOnly", "mounts below the volume are read-only too"),
  own("volumeMounts", "also `subPath` and `subPathExpr`; links that lead out of the volume are refused"),
];

/** Everything of containers, init containers and ephemeral containers. */
export const containerFields: readonly FieldRule[] = [
  ...program,
  ...life,
  ...resources,
  ...ports,
  ...security,
  ...mounts,
];
