import type { Duplex as NodeDuplex, Readable, Writable } from "node:stream";
import type { Json } from "../../../kernel/kinds/index.js";
import type { ResourceLimits, ResourceUsage } from "../isolation/cgroup.js";

/** What a pod needs before its containers: names, address, place. */
export interface SandboxSpec {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly hostname: string;
  readonly hostNetwork: boolean;
  /** Containers see the machine's processes. */
  readonly hostPid?: boolean;
  /** Containers see the machine's System V and POSIX objects. */
  readonly hostIpc?: boolean;
  /** Kernel settings of the pod's own namespaces: `net.ipv4.tcp_syncookies`, `1`. */
  readonly sysctls?: readonly (readonly [string, string])[];
}

/** A pod as the runtime keeps it: survives the agent. */
export interface SandboxRecord extends SandboxSpec {
  /** Address of the pod; the machine's for `hostNetwork`. */
  readonly ip: string;
  readonly createdAtMs: number;
}

/** One path inside a container. */
export interface ContainerMount {
  readonly containerPath: string;
  /** A file or folder of the machine; absent: a memory file system. */
  readonly hostPath?: string;
  readonly readOnly: boolean;
  readonly sizeBytes?: number;
  /** With `readOnly`: also what is mounted below. */
  readonly recursiveReadOnly?: boolean;
  /** What the machine mounts below it later shows too. */
  readonly isFollowing?: boolean;
}

/** Who the program runs as; absent members: root of the pod. */
export interface ContainerUser {
  readonly uid?: number;
  readonly gid?: number;
  readonly groups?: readonly number[];
  readonly readOnlyRoot?: boolean;
  readonly addCapabilities?: readonly string[];
  readonly dropCapabilities?: readonly string[];
  readonly privileged?: boolean;
  readonly allowPrivilegeEscalation?: boolean;
  /** Nothing of /proc is masked. */
  readonly unmaskedProc?: boolean;
  /** System calls that no container needs are refused, where the runtime can do that. */
  readonly filtersSystemCalls?: boolean;
}

/** One attempt to run a container, all names resolved. */
export interface ContainerSpec {
  readonly podUid: string;
  readonly name: string;
  /** Restart count: 0 for the first attempt. */
  readonly attempt: number;
  /** Image name as the pod gives it, and the id that it resolved to. */
  readonly image: string;
  readonly imageId: string;
  readonly command: readonly string[];
  readonly env: readonly (readonly [string, string])[];
  readonly workingDir: string;
  readonly mounts: readonly ContainerMount[];
  /** Files and folders of the machine that the image consists of: visible read-only at their own paths. */
  readonly imagePaths: readonly string[];
  /** Folder whose content is the image's whole root; absent: the machine's userland. */
  readonly imageRoot?: string;
  readonly limits: ResourceLimits;
  /** As the pod writes them; kept with the attempt. */
  readonly resources?: Json;
  readonly user: ContainerUser;
  readonly stdin: boolean;
  /** The input ends when the first client that was attached leaves. */
  readonly stdinOnce?: boolean;
  /** The program has a terminal. */
  readonly tty?: boolean;
  /** Sent for a graceful end; default `SIGTERM`. */
  readonly stopSignal?: string;
  readonly terminationMessagePath: string;
  /** For the simulated runtime: the pod's annotations. */
  readonly annotations: Readonly<Record<string, string>>;
}

/** Numbers as the container sees them. */
export interface ProcessIdentity {
  readonly uid: number;
  readonly gid: number;
  /** With `gid`. */
  readonly groups: readonly number[];
}

/** One attempt as it is or was. Exit data are true also when the container ended while no agent watched. */
export interface ContainerRecord {
  readonly podUid: string;
  readonly name: string;
  readonly attempt: number;
  readonly image: string;
  readonly imageId: string;
  /** What it was started with. */
  readonly resources?: Json;
  /** Who its first process is; absent in simulations. */
  readonly identity?: ProcessIdentity;
  readonly state: "starting" | "running" | "exited";
  readonly startedAtMs: number;
  readonly finishedAtMs?: number;
  readonly exitCode?: number;
  readonly signal?: number;
  /** `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`. */
  readonly reason?: string;
  /** For people; not the termination message of the program. */
  readonly message?: string;
}

/** Names an attempt. */
export interface ContainerRef {
  readonly podUid: string;
  readonly name: string;
  readonly attempt: number;
}

/** Stable text of a reference, also a file name. */
export function containerIdOf(ref: ContainerRef): string {
  return `${ref.podUid}.${ref.name}.${ref.attempt}`;
}

export interface LogOptions {
  readonly follow?: boolean;
  readonly timestamps?: boolean;
  readonly sinceMs?: number;
  readonly tailLines?: number;
  readonly limitBytes?: number;
  /** Do not wait for ends of lines: a prompt has none. */
  readonly partial?: boolean;
  readonly signal?: AbortSignal;
}

/** Size of a terminal in characters. */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

export interface ExecOptions {
  readonly command: readonly string[];
  readonly tty: boolean;
  readonly stdin: boolean;
  /** Of the terminal, where it is known before the program starts. */
  readonly size?: TerminalSize;
}

/** A program running beside a container's own. */
export interface ExecSession {
  readonly stdin: Writable | undefined;
  readonly stdout: Readable;
  readonly stderr: Readable | undefined;
  /** Resolves with its exit code. */
  readonly exited: Promise<number>;
  resize(size: TerminalSize): void;
  kill(): void;
}

/**
 * Runs pods. All state that matters outlives the caller, so a second runtime over the same place goes on where the first
 * stopped. Calls on one pod come from one worker, never two at once.
 */
export interface PodRuntime {
  /** Shown in node.status.nodeInfo.containerRuntimeVersion and in container ids. */
  readonly name: "process" | "podman" | "simulated";
  /** Where pods' resolv.conf comes from; absent: the machine's /etc. */
  readonly etcFolder?: string;
  /** Finds what already runs. */
  start(): Promise<void>;
  pods(): readonly SandboxRecord[];
  /** Makes the pod's network and folders; the same record again when it is there. */
  createPod(spec: SandboxSpec): Promise<SandboxRecord>;
  /** Removes every trace of a pod; kills what still runs. */
  removePod(uid: string): Promise<void>;
  /** Gives back the address of a pod whose containers have all ended for good; logs and results stay. */
  releasePod(uid: string): Promise<void>;
  /** Answers a probe itself; `undefined`: the container has to be asked. Only simulations do. */
  probe?(ref: ContainerRef, kind: "startup" | "liveness" | "readiness"): boolean | undefined;
  /** Files of the pod that mounts may come from. */
  podFolder(uid: string): string;
  containers(podUid: string): readonly ContainerRecord[];
  /** Resolves once the program was started; rejects with `StartError` (an exited record is kept then). */
  startContainer(spec: ContainerSpec): Promise<void>;
  /** TERM, and KILL after the grace. Resolves when it is gone. */
  stopContainer(ref: ContainerRef, graceMs: number): Promise<void>;
  /** Forgets an exited attempt and its files. */
  removeContainer(ref: ContainerRef): Promise<void>;
  /** Last text of the program's termination message file, at most 4096 bytes. */
  terminationMessage(ref: ContainerRef): Promise<string>;
  exec(ref: ContainerRef, options: ExecOptions): Promise<ExecSession>;
  /** Input and output of the container's own program. */
  attach(ref: ContainerRef, options: { readonly stdin: boolean }): Promise<ExecSession>;
  logs(ref: ContainerRef, options: LogOptions): AsyncIterable<Uint8Array>;
  /** Connects to a port inside the pod, at its address or its loopback. */
  dial(podUid: string, port: number): Promise<NodeDuplex>;
  /** Connects to any address that the machine or its pods reach; rejects with an error whose `code` is the system's. */
  connect(host: string, port: number): Promise<NodeDuplex>;
  usage(ref: ContainerRef): ResourceUsage | undefined;
  /** Bytes that the container has written outside of volumes, its log included; `undefined`: it cannot be told. */
  diskUse(ref: ContainerRef): Promise<number | undefined>;
  /** Called with the pod's uid after each change of one of its containers. Returns its removal. */
  onChange(handler: (podUid: string) => void): () => void;
  /** What a pod may not ask for here, in words; `undefined`: nothing is in the way. */
  refusal(): string | undefined;
  close(options: { readonly keepPods: boolean }): Promise<void>;
}
