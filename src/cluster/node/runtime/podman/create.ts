import { readFileSync } from "node:fs";
import { join, relative } from "node:path";
import type { Json, JsonObject } from "../../../../kernel/kinds/object.js";
import type { ResourceLimits } from "../../isolation/cgroup.js";
import { isWithin } from "../mount-table.js";
import { keptCapabilities, usualCapabilities } from "../privileges.js";
import type { RootMount } from "../rootfs.js";
import { signalNumber } from "../signals.js";
import type { ContainerSpec, ContainerUser, SandboxRecord } from "../types.js";

/** Everything that podman is told about a container. */
export interface CreateRequest {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly spec: ContainerSpec;
  readonly pod: SandboxRecord;
  /** See `prepareContent`. */
  readonly mounts: readonly RootMount[];
  /** The folder that they are mounted below. */
  readonly root: string;
  readonly logPath: string;
  /** File of the pod's network namespace; absent: the machine's. */
  readonly networkNamespace: string | undefined;
  readonly cgroupParent: string;
  /** Swap can be limited: the kernel counts it. */
  readonly limitsSwap: boolean;
}

/** The body of podman's request to create a container: nothing is left to its defaults that a pod's spec speaks of. */
export function createBody(request: CreateRequest): JsonObject {
  const { spec, pod, name, logPath, networkNamespace, cgroupParent } = request;
  const { user } = spec;
  const host: Json = { nsmode: "host" };
  const own: Json = { nsmode: "private" };
  const isFollowing = spec.mounts.some((mount) => mount.isFollowing === true);
  return {
    name,
    labels: { ...request.labels },
    entrypoint: [],
    command: [...spec.command],
    env: Object.fromEntries(spec.env),
    unsetenvall: true,
    work_dir: spec.workingDir,
    create_working_dir: true,
    ...rootOf(request),
    mounts: mountsOf(request),
    ...(isFollowing ? { rootfs_propagation: "rslave" } : {}),
    image_volume_mode: "ignore",
    // Names and users are the node's business and the image's.
    use_image_hosts: true,
    use_image_resolve_conf: true,
    manage_password: false,
    netns: networkNamespace === undefined ? host : { nsmode: "path", value: networkNamespace },
    utsns: pod.hostNetwork ? host : own,
    pidns: pod.hostPid === true ? host : own,
    ipcns: pod.hostIpc === true ? host : own,
    ...(pod.hostNetwork ? {} : { hostname: pod.hostname }),
    sysctl: Object.fromEntries(pod.sysctls ?? []),
    user: `${user.uid ?? 0}:${user.gid ?? 0}`,
    groups: (user.groups ?? []).map(String),
    ...rightsOf(request),
    terminal: spec.tty === true,
    stdin: spec.stdin,
    stop_signal: signalNumber(spec.stopSignal ?? "SIGTERM") ?? 15,
    log_configuration: { driver: "k8s-file", path: logPath },
    cgroup_parent: `/${cgroupParent}`,
    resource_limits: limitsOf(spec.limits, request.limitsSwap),
    r_limits: ownLimits(),
  };
}

/** An image's root stays as it is: what the program writes lies over it. */
function rootOf({ spec, root }: CreateRequest): JsonObject {
  return spec.imageRoot === undefined ? { rootfs: root } : { rootfs: spec.imageRoot, rootfs_overlay: true };
}

function mountsOf({ mounts, root, spec }: CreateRequest): Json[] {
  const following = spec.mounts.filter((mount) => mount.isFollowing === true).map((mount) => mount.containerPath);
  const byTarget = new Map<string, Json>();
  for (const { source, target, type, options } of mounts) {
    const destination = join("/", relative(root, target));
    // What is mounted later covers what was there; podman sorts mounts by depth and knows of no order.
    for (const earlier of byTarget.keys()) if (isWithin(earlier, destination)) byTarget.delete(earlier);
    const flags = options.split(",");
    const propagation = following.includes(destination) ? "rslave" : "rprivate";
    byTarget.set(
      destination,
      type === "tmpfs"
        ? { destination, type, source: type, options: [...flags, "notmpcopyup"] }
        : { destination, type: "bind", source, options: [...flags, propagation] },
    );
  }
  return [...byTarget.values()];
}

function rightsOf({ spec: { user } }: CreateRequest): JsonObject {
  return {
    privileged: user.privileged === true,
    ...(user.privileged === true ? {} : capabilitiesOf(user)),
    no_new_privileges: user.allowPrivilegeEscalation === false,
    read_only_filesystem: user.readOnlyRoot === true,
    ...(user.unmaskedProc === true ? { unmask: ["ALL"] } : {}),
    ...(user.filtersSystemCalls === true ? {} : { seccomp_profile_path: "unconfined" }),
    apparmor_profile: "unconfined",
    selinux_opts: ["disable"],
  };
}

function capabilitiesOf(user: ContainerUser): JsonObject {
  const kept = keptCapabilities(user);
  const names = (list: readonly string[]): string[] => list.map((name) => name.toUpperCase());
  const dropped = kept.includes("all") ? [] : usualCapabilities.filter((name) => !kept.includes(name));
  // What podman adds it hands to the program of any user; by Kubernetes' rules only root has capabilities.
  const added = (user.uid ?? 0) === 0 ? kept.filter((name) => !usualCapabilities.includes(name)) : [];
  return { cap_drop: names(dropped), cap_add: names(added) };
}

const cpuPeriodUs = 100_000;
const maxShares = 262_144;

function limitsOf(limits: ResourceLimits, limitsSwap: boolean): JsonObject {
  const { memoryBytes, cpuMillis, cpuRequestMillis = 2, pids } = limits;
  const shares = Math.min(maxShares, Math.max(2, Math.round((cpuRequestMillis * 1024) / 1000)));
  const quota = cpuMillis === undefined ? {} : { quota: quotaOf(cpuMillis), period: cpuPeriodUs };
  return {
    cpu: { shares, ...quota },
    ...(memoryBytes === undefined
      ? {}
      : { memory: { limit: memoryBytes, ...(limitsSwap ? { swap: memoryBytes } : {}) } }),
    ...(pids === undefined ? {} : { pids: { limit: pids } }),
  };
}

function quotaOf(cpuMillis: number): number {
  return Math.max(1000, Math.round(cpuMillis * (cpuPeriodUs / 1000)));
}

/** What podman's service sets for itself, and nobody but the machine's owner may raise. */
const mostProcesses = 32_768;
const mostFiles = 1_048_576;

/** A container may open as many files as this process, and start as many processes as podman may. */
function ownLimits(): Json[] {
  const text = readFileSync("/proc/self/limits", "utf8");
  const limits = [
    ["NOFILE", "Max open files", mostFiles],
    ["NPROC", "Max processes", mostProcesses],
  ] as const;
  return limits.map(([type, title, most]) => {
    const [, soft = "", hard = ""] = new RegExp(`^${title}\\s+(\\S+)\\s+(\\S+)`, "m").exec(text) ?? [];
    const number = (value: string): number => (/^\d+$/.test(value) ? Math.min(most, Number(value)) : most);
    return { type, soft: number(soft), hard: number(hard) };
  });
}
