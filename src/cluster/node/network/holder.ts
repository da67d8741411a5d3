import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isRunning, type ProcessMark, parseStat } from "../../../kernel/files/index.js";
import { plainEnvironment, requireProgram } from "../commands.js";
import { NodeError } from "../errors.js";

/** The pods' side of the network and what leads out of it. */
export interface HolderPlan {
  /** The machine's address among the pods, and the length of their range's prefix. */
  readonly gateway: string;
  readonly prefix: number;
  /** The pods' range. */
  readonly range: string;
}

/** The network is alone in its namespaces: every data directory has the whole range. */
export const userNetworkPlan: HolderPlan = { gateway: "198.18.0.1", prefix: 17, range: "198.18.0.0/17" };

/** Name of the bridge in the holder's network. */
const bridgeName = "pods";
/** Its own, or it would have the lowest of its pods': pods that know another one do not reach the machine for a minute. */
const bridgeHardware = "02:61:00:00:00:01";
/** Name of the network namespace in which every address answers: what pods send elsewhere arrives there. */
export const outsideName = "outside";
/** The link between the two, beside the pods' addresses. */
const near = "198.18.255.253";
const far = "198.18.255.254";

const markName = "holder.stat";

/**
 * What makes the network, as root of a user namespace of its own. Said once, so that detection tries the very same. Nothing
 * here needs a right that a plain user has not; where the kernel refuses one, the script ends with the cause.
 */
export function networkScript({ gateway, prefix, range }: HolderPlan): string {
  return `set -e
mount -t tmpfs none /run
echo 1 >/proc/sys/net/ipv4/ip_forward
ip -batch - <<END
link set lo up
netns add ${outsideName}
link add ${bridgeName} address ${bridgeHardware} type bridge forward_delay 0 stp_state 0
addr add ${gateway}/${prefix} dev ${bridgeName}
link set ${bridgeName} up
link add out type veth peer name in netns ${outsideName}
addr add ${near}/30 dev out
link set out up
route add default via ${far}
END
nsenter --net=/run/netns/${outsideName} ip -batch - <<END
link set lo up
addr add ${far}/30 dev in
link set in up
route add table local ${near}/32 dev in
route add table local ${range} via ${near}
route add table local local 0.0.0.0/0 dev lo
END
`;
}

/** What makes a pod's namespace there, under a name. */
export function attachScript(
  pod: { readonly name: string; readonly link: string; readonly ip: string },
  { gateway, prefix }: HolderPlan,
): string {
  const { name, link, ip } = pod;
  return `set -e
ip -batch - <<END
netns add ${name}
link add ${link} type veth peer name eth0 netns ${name}
link set ${link} master ${bridgeName} up
END
nsenter --net=/run/netns/${name} /bin/sh -ec 'ip -batch -; echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start' <<END
link set lo up
${existsSync("/proc/net/if_inet6") ? "link set dev eth0 addrgenmode none\n" : ""}addr add ${ip}/${prefix} dev eth0
link set eth0 up
route add default via ${gateway}
END
`;
}

/** Waits for nothing, for ever, and without a second process. */
const waitScript = `mkfifo /run/wait
exec 3<>/run/wait
while :; do read -r _ <&3; done
`;

/** The process that a folder's network is held by, whether the network stands or not; `undefined` when none runs. */
export function runningHolder(folder: string): ProcessMark | undefined {
  const file = join(folder, markName);
  const stat = existsSync(file) ? parseStat(readFileSync(file, "utf8").trim()) : undefined;
  const mark = stat === undefined ? undefined : { pid: stat.pid, startTicks: stat.startTicks };
  return mark !== undefined && isRunning(mark) ? mark : undefined;
}

/** Starts the process that holds a network; resolves when the network stands. It outlives this process. */
export async function startHolder(folder: string, plan: HolderPlan): Promise<ProcessMark> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const [script, mark] = [join(folder, "holder.sh"), join(folder, markName)];
  const note = `read -r line </proc/$$/stat\nprintf '%s\\n' "$line" >"$1"\n`;
  writeFileSync(script, `${note}${networkScript(plan)}echo up\nexec >/dev/null 2>&1\n${waitScript}`, { mode: 0o600 });
  rmSync(mark, { force: true });
  const words = ["--user", "--map-root-user", "--net", "--mount", "--", "/bin/sh", script, mark];
  const child = spawn(requireProgram("unshare"), words, {
    cwd: "/",
    detached: true,
    env: plainEnvironment,
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.unref();
  const cause = await untilUp(child);
  const holder = runningHolder(folder);
  if (cause === undefined && holder !== undefined) return holder;
  if (holder !== undefined) endHolder(holder);
  throw new NodeError("NetworkFailed", `the pod network cannot be made: ${cause ?? "its holder ended"}`);
}

/** Resolves with `undefined` when the script said that it is up, with the cause when it ended before. */
function untilUp(child: ChildProcess): Promise<string | undefined> {
  return new Promise((resolve) => {
    let said = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    child.stdout?.once("data", () => resolve(undefined));
    child.once("error", (error) => resolve(error.message));
    child.once("close", () => resolve(said.trim() || "no answer"));
  });
}

/** Ends the process, and with it the network. */
export function endHolder(mark: ProcessMark): void {
  if (!isRunning(mark)) return;
  try {
    process.kill(mark.pid, "SIGKILL");
  } catch {
    // Gone in between, which is what was wanted.
  }
}
