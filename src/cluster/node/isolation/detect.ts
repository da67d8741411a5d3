import { existsSync, readFileSync } from "node:fs";
import { findProgram, runCommandSync } from "../commands.js";
import { egressPorts } from "../network/egress.js";
import { attachScript, networkScript, userNetworkPlan } from "../network/holder.js";
import { type CgroupHome, detectCgroups } from "./cgroup.js";

/** One thing that this machine can or cannot do for pods. */
export interface IsolationCapability {
  readonly capability:
    | "mount-namespace"
    | "pid-namespace"
    | "network-namespace"
    | "user-namespace"
    | "resource-limits"
    | "drop-privileges"
    | "egress"
    | "terminal"
    | "log-rotation";
  readonly available: boolean;
  /** How it is done, or why it is not. */
  readonly reason: string;
  /** What the user can do about it; empty where nothing needs to be done. */
  readonly remedy: string;
}

/** `root`: namespaces made by root; `user`: below user namespaces; `none`: pods are refused. */
export type IsolationMode = "root" | "user" | "none";

/** What was found out about this machine. */
export interface Isolation {
  readonly mode: IsolationMode;
  readonly capabilities: readonly IsolationCapability[];
  readonly hasPidNamespace: boolean;
  /** Every pod has a network of its own; otherwise pods share the machine's, with a loopback address each. */
  readonly hasNetworkNamespace: boolean;
  readonly cgroup: CgroupHome | undefined;
}

const remedyUserNamespaces =
  "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, or on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0), or run as root";

/**
 * Finds out what isolates pods on this machine by trying it: short-lived child processes, nothing is left behind.
 * `asUser` leaves root's ways aside, to see what a plain user would get.
 */
export function detectIsolation(options: { readonly asUser?: boolean } = {}): Isolation {
  const isRoot = process.getuid?.() === 0 && options.asUser !== true;
  const mounts = isRoot ? tryRootMounts() : tryUserMounts();
  const pids = mounts.available
    ? tryPids(isRoot)
    : unavailable("pid-namespace", "needs the mount namespace", mounts.remedy);
  const cgroup = detectCgroups(isRoot);
  const network = isRoot ? tryNetwork() : tryUserNetwork(mounts.available);
  const mode: IsolationMode = !mounts.available
    ? "none"
    : isRoot && network.available
      ? "root"
      : isRoot
        ? "none"
        : "user";
  return {
    mode,
    hasPidNamespace: pids.available,
    hasNetworkNamespace: network.available,
    cgroup: cgroup.home,
    capabilities: [mounts, pids, network, cgroup.capability, ...helperPrograms(isRoot, network.available)],
  };
}

function unavailable(
  capability: IsolationCapability["capability"],
  reason: string,
  remedy: string,
): IsolationCapability {
  return { capability, available: false, reason, remedy };
}

function available(capability: IsolationCapability["capability"], reason: string): IsolationCapability {
  return { capability, available: true, reason, remedy: "" };
}

function missingPrograms(names: readonly string[]): string[] {
  return names.filter((name) => findProgram(name) === undefined);
}

function tryUnshare(args: readonly string[], script: string): string | undefined {
  const result = runCommandSync("/bin/sh", ["-c", `exec unshare ${args.join(" ")} /bin/sh -c '${script}'`]);
  return result.code === 0 ? undefined : result.stderr || `exit code ${result.code}`;
}

const mountScript =
  "mount -t tmpfs none /mnt && mkdir /mnt/a && mount --bind /usr /mnt/a && command -v pivot_root >/dev/null";
const mountPrograms = ["unshare", "nsenter", "mount", "umount", "pivot_root"];

function tryRootMounts(): IsolationCapability {
  const missing = missingPrograms(mountPrograms);
  if (missing.length > 0) return missingUtilLinux("mount-namespace", missing);
  const cause = tryUnshare(["-m", "-u", "-i"], mountScript);
  if (cause === undefined) return available("mount-namespace", "a mount namespace per container, as root");
  return unavailable(
    "mount-namespace",
    `unshare -m: ${cause}`,
    "run with CAP_SYS_ADMIN, or outside of a restricted container",
  );
}

function tryUserMounts(): IsolationCapability {
  const missing = missingPrograms(mountPrograms);
  if (missing.length > 0) return missingUtilLinux("mount-namespace", missing);
  const cause = tryUnshare(["-U", "-r", "-m", "-u", "-i"], mountScript);
  if (cause === undefined)
    return available("mount-namespace", "a user and mount namespace per container, as a plain user");
  return unavailable("mount-namespace", `unshare -Urm: ${cause}`, remedyUserNamespaces);
}

function missingUtilLinux(
  capability: IsolationCapability["capability"],
  missing: readonly string[],
): IsolationCapability {
  return unavailable(capability, `not found: ${missing.join(", ")}`, "install util-linux");
}

function tryPids(isRoot: boolean): IsolationCapability {
  const flags = isRoot ? ["-m", "-p", "-f"] : ["-U", "-r", "-m", "-p", "-f"];
  const cause = tryUnshare(flags, "mount -t proc proc /proc");
  if (cause === undefined) return available("pid-namespace", "a process namespace per container");
  return unavailable(
    "pid-namespace",
    `a fresh /proc cannot be mounted (${cause}): pods see the machine's processes and are stopped by process group`,
    "run outside of a container that masks parts of /proc",
  );
}

function tryNetwork(): IsolationCapability {
  const missing = missingPrograms(["ip"]);
  if (missing.length > 0) return unavailable("network-namespace", "not found: ip", "install iproute2");
  const cause = tryUnshare(
    ["-n"],
    "ip link add argosy-a type bridge && ip link add argosy-b type veth peer name argosy-c && ip link set argosy-b master argosy-a",
  );
  if (cause === undefined)
    return available("network-namespace", "a network namespace per pod on a bridge, 198.18.0.0/16");
  return unavailable(
    "network-namespace",
    `bridge or veth: ${cause}`,
    "load the kernel modules bridge and veth, or run as a plain user",
  );
}

/** Makes the very network that pods would have, and a pod's namespace in it, which goes with the process that tried. */
function tryUserNetwork(hasMounts: boolean): IsolationCapability {
  const missing = missingPrograms(["ip", "mkfifo"]);
  const cause = !hasMounts
    ? "needs the mount namespace"
    : missing.length > 0
      ? `not found: ${missing.join(", ")}`
      : tryPodNetwork();
  if (cause === undefined) {
    return available(
      "network-namespace",
      "a network namespace per pod on a bridge in namespaces of the user's own, 198.18.0.0/17",
    );
  }
  return unavailable(
    "network-namespace",
    `${cause}: a loopback address per pod (127.64.0.0/10) in the machine's own network; programs should bind POD_IP, not 0.0.0.0, and Services need ports of 1024 or more`,
    missing.length > 0
      ? "install iproute2 and coreutils"
      : "allow user and network namespaces with bridges (sysctl user.max_net_namespaces; kernel modules bridge and veth), or run as root",
  );
}

function tryPodNetwork(): string | undefined {
  const result = runCommandSync("unshare", [
    ...["--user", "--map-root-user", "--net", "--mount", "--", "/bin/sh", "-c"],
    `${networkScript(userNetworkPlan)}${attachScript({ name: "try", link: "try", ip: "198.18.0.2" }, userNetworkPlan)}
nsenter --net=/run/netns/try unshare --user --map-root-user true`,
  ]);
  return result.code === 0 ? undefined : result.stderr.split("\n").join("; ") || `exit code ${result.code}`;
}

function helperPrograms(isRoot: boolean, hasNetwork: boolean): IsolationCapability[] {
  const terminal = findProgram("script") ?? findProgram("python3");
  const fallocate = findProgram("fallocate");
  return [
    findProgram("setpriv") === undefined
      ? unavailable(
          "drop-privileges",
          "not found: setpriv; runAsUser and capabilities are refused",
          "install util-linux",
        )
      : available("drop-privileges", isRoot ? "capabilities are dropped to a container's usual set" : "no_new_privs"),
    isRoot ? egress() : userEgress(hasNetwork),
    terminal === undefined
      ? unavailable(
          "terminal",
          "not found: script, python3; containers with tty and exec -t are refused",
          "install util-linux (Debian: bsdutils)",
        )
      : available("terminal", terminal),
    fallocate === undefined
      ? unavailable("log-rotation", "not found: fallocate; full logs are copied and cut instead", "install util-linux")
      : available("log-rotation", "the oldest part of a log is freed in place"),
  ];
}

function userEgress(hasNetwork: boolean): IsolationCapability {
  if (!hasNetwork) return available("egress", "pods use the machine's own network");
  return available(
    "egress",
    `DNS and ${egressPorts.length} usual TCP ports of other machines (docs/images.md), passed on by Argosy; nothing else leaves`,
  );
}

function egress(): IsolationCapability {
  const tool = findProgram("nft") ?? findProgram("iptables");
  if (tool === undefined) {
    return unavailable(
      "egress",
      "not found: nft, iptables; pods reach this machine and each other only",
      "install nftables",
    );
  }
  const file = "/proc/sys/net/ipv4/ip_forward";
  const forwards = existsSync(file) && readFileSync(file, "utf8").trim() === "1";
  return available(
    "egress",
    `pods go out through ${tool}${forwards ? "" : " (forwarding is switched on when needed)"}`,
  );
}

/** Why pods cannot run on such a machine, and what to do; `undefined`: they can. */
export function isolationRefusal({ mode, capabilities }: Isolation): string | undefined {
  if (mode !== "none") return undefined;
  const first = capabilities.find((each) => !each.available && each.remedy !== "");
  return `this machine cannot isolate pods: ${first?.reason ?? "no namespaces"}; ${first?.remedy ?? "run as root"}`;
}
