import { findProgram, requireProgram, runCommandSync } from "../commands.js";
import { NodeError } from "../errors.js";
import type { IsolationMode } from "../isolation/detect.js";
import type { ContainerUser, ProcessIdentity } from "./types.js";

/** What a container may do as root of its pod, when it asks for nothing else. */
export const usualCapabilities = [
  "chown",
  "dac_override",
  "fsetid",
  "fowner",
  "net_raw",
  "setgid",
  "setuid",
  "setfcap",
  "setpcap",
  "net_bind_service",
  "sys_chroot",
  "kill",
  "audit_write",
];

/**
 * The programs that take rights and identity away before a container's own runs, as a command prefix. Throws
 * `CreateContainerConfigError` for what this machine cannot give.
 */
export function privilegePrefix(user: ContainerUser, mode: IsolationMode): string[] {
  const isUser = mode === "user";
  const setpriv = findProgram("setpriv");
  const changesUser = (user.uid ?? 0) !== 0 || (user.gid ?? 0) !== 0;
  if (setpriv === undefined) {
    if (!changesUser && user.dropCapabilities === undefined) return [];
    throw new NodeError(
      "CreateContainerConfigError",
      "runAsUser and capabilities need the program setpriv (util-linux)",
    );
  }
  if (isUser && user.privileged === true) {
    throw new NodeError("CreateContainerConfigError", "privileged containers need Argosy to run as root");
  }
  const noNewRights = user.allowPrivilegeEscalation === false ? ["--no-new-privs"] : [];
  // A user other than 0 has no capabilities after the exec anyway.
  if (isUser && changesUser) return [...mapUser(user), setpriv, ...noNewRights, "--"];
  const bounds = user.privileged === true ? [] : [`--bounding-set=${capabilityList(user)}`, "--inh-caps=-all"];
  const identity = isUser ? [] : identityFlags(user);
  const args = [...bounds, ...noNewRights, ...identity];
  return args.length === 0 ? [] : [setpriv, ...args, "--"];
}

/** Who a container's first process is, as it sees itself. */
export function identityOf({ uid = 0, gid = 0, groups = [] }: ContainerUser, mode: IsolationMode): ProcessIdentity {
  return { uid, gid, groups: [...new Set([gid, ...(mode === "user" ? [] : groups)])] };
}

function identityFlags({ uid = 0, gid = 0, groups = [] }: ContainerUser): string[] {
  return [`--reuid=${uid}`, `--regid=${gid}`, groups.length === 0 ? "--clear-groups" : `--groups=${groups.join(",")}`];
}

/** A plain user owns one id only: it is shown under another number by a second user namespace. */
function mapUser(user: ContainerUser): string[] {
  return [requireProgram("unshare"), "-U", `--map-user=${user.uid ?? 0}`, `--map-group=${user.gid ?? 0}`, "--"];
}

/** The capabilities that a container keeps, in small letters without `cap_`, or `all`. Throws `CreateContainerError` for one that there is not. */
export function keptCapabilities(user: ContainerUser): readonly string[] {
  const clean = (names: readonly string[] | undefined): string[] =>
    (names ?? []).map((name) => name.toLowerCase().replace(/^cap_/, ""));
  const dropped = clean(user.dropCapabilities);
  const added = clean(user.addCapabilities);
  const strange = [...dropped, ...added].find((name) => name !== "all" && !isKnown(name));
  if (strange !== undefined) {
    throw new NodeError(
      "CreateContainerError",
      `capability "${strange.toUpperCase()}" is not one that this machine knows: see \`setpriv --list-caps\``,
    );
  }
  const base = dropped.includes("all") ? [] : usualCapabilities.filter((name) => !dropped.includes(name));
  return added.includes("all") ? ["all"] : [...new Set([...base, ...added])];
}

function capabilityList(user: ContainerUser): string {
  return ["-all", ...keptCapabilities(user).map((name) => `+${name}`)].join(",");
}

let known: ReadonlySet<string> | undefined;

function isKnown(capability: string): boolean {
  known ??= new Set(runCommandSync(requireProgram("setpriv"), ["--list-caps"]).stdout.split(/\s+/));
  // A setpriv that does not say what it knows is asked by using it.
  return known.has(capability) || !known.has("chown");
}

let canResetSignals: boolean | undefined;

/** A shell's background job ignores INT and QUIT; `env` of coreutils gives them back. */
export function defaultSignals(): string[] {
  canResetSignals ??= runCommandSync("/usr/bin/env", ["--default-signal=INT,QUIT", "true"]).code === 0;
  return canResetSignals ? ["/usr/bin/env", "--default-signal=INT,QUIT"] : [];
}
