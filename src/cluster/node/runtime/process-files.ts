import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { type ProcessMark, parseStat, replaceFileSync } from "../../../kernel/files/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../../../kernel/schema/index.js";
import { definedOnly } from "../defined.unsafe.js";
import {
  type ContainerRecord,
  type ContainerRef,
  containerIdOf,
  type ProcessIdentity,
  type SandboxRecord,
} from "./types.js";

/** Where everything of one node lies; other code asks here and builds no paths of its own. */
export class NodeFiles {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  get keeper(): string {
    return join(this.folder, "keeper.sh");
  }
  get etc(): string {
    return join(this.folder, "etc");
  }
  get events(): string {
    return join(this.folder, "events");
  }
  get pods(): string {
    return join(this.folder, "pods");
  }

  pod(uid: string): string {
    return join(this.pods, uid);
  }
  podRecord(uid: string): string {
    return join(this.pod(uid), "pod.json");
  }

  attempt(ref: ContainerRef): string {
    return join(this.pod(ref.podUid), "containers", ref.name, String(ref.attempt));
  }
  log(ref: ContainerRef): string {
    return join(this.attempt(ref), "log");
  }
  root(ref: ContainerRef): string {
    return join(this.attempt(ref), "root");
  }
  record(ref: ContainerRef): string {
    return join(this.attempt(ref), "record.json");
  }
  event(ref: ContainerRef, kind: EventKind): string {
    return join(this.events, `${containerIdOf(ref)}.${kind}`);
  }

  make(): void {
    for (const folder of [this.folder, this.events, this.pods]) mkdirSync(folder, { recursive: true, mode: 0o711 });
  }

  /** Process ids and start times mean nothing after the machine was started anew: what they were is forgotten. */
  forgetOtherBoots(): void {
    const now = readFileSync("/proc/sys/kernel/random/boot_id", "utf8");
    const path = join(this.folder, "boot-id");
    if (existsSync(path) && readFileSync(path, "utf8") !== now) {
      for (const name of readdirSync(this.events)) {
        if (/\.(keeper|init)$/.test(name)) rmSync(join(this.events, name), { force: true });
      }
    }
    replaceFileSync(path, now);
  }

  /** All pods and attempts on disk. */
  load(): { pods: SandboxRecord[]; containers: ContainerRef[] } {
    const pods: SandboxRecord[] = [];
    const containers: ContainerRef[] = [];
    for (const uid of readdirSync(this.pods)) {
      const pod = readPod(this.podRecord(uid));
      if (pod === undefined) continue;
      pods.push(pod);
      const base = join(this.pod(uid), "containers");
      for (const name of existsSync(base) ? readdirSync(base) : []) {
        for (const attempt of readdirSync(join(base, name))) {
          if (/^\d+$/.test(attempt)) containers.push({ podUid: uid, name, attempt: Number(attempt) });
        }
      }
    }
    return { pods, containers };
  }
}

/** Files that the keeper and the container's first process write. */
export type EventKind = "keeper" | "init" | "started" | "exit";

/** Content and time of an event file that is complete. */
export function readEvent(path: string): { text: string; timeMs: number } | undefined {
  try {
    const text = readFileSync(path, "utf8");
    return text.endsWith("\n") ? { text: text.trimEnd(), timeMs: Math.floor(statSync(path).mtimeMs) } : undefined;
  } catch {
    return undefined;
  }
}

/** The process that an event file names. */
export function readIdentity(path: string): ProcessMark | undefined {
  const event = readEvent(path);
  return event === undefined ? undefined : parseStat(event.text);
}

function readJson(path: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const textOf = (value: Json | undefined): string => (typeof value === "string" ? value : "");
const numberOf = (value: Json | undefined): number | undefined => (typeof value === "number" ? value : undefined);

function pairsOf(value: Json | undefined): [string, string][] {
  const list = Array.isArray(value) ? value : [];
  return list.flatMap((pair): [string, string][] => (Array.isArray(pair) ? [[textOf(pair[0]), textOf(pair[1])]] : []));
}

function readPod(path: string): SandboxRecord | undefined {
  const raw = readJson(path);
  if (raw === undefined || textOf(raw["uid"]) === "") return undefined;
  return {
    uid: textOf(raw["uid"]),
    namespace: textOf(raw["namespace"]),
    name: textOf(raw["name"]),
    hostname: textOf(raw["hostname"]),
    hostNetwork: raw["hostNetwork"] === true,
    hostPid: raw["hostPid"] === true,
    hostIpc: raw["hostIpc"] === true,
    sysctls: pairsOf(raw["sysctls"]),
    ip: textOf(raw["ip"]),
    createdAtMs: numberOf(raw["createdAtMs"]) ?? 0,
  };
}

/** What is written about an attempt before it starts and after it ended. */
export interface SavedContainer extends ContainerRecord {
  readonly cgroup: string;
  readonly workingDir: string;
  readonly terminationFile: string;
  readonly execPrefix: readonly string[];
  readonly memoryBytes?: number;
  readonly imagePaths: readonly string[];
  /** See `ContainerSpec.imageRoot`. */
  readonly imageRoot?: string;
  readonly tty?: boolean;
  /** It has an input. */
  readonly stdin?: boolean;
  readonly stdinOnce?: boolean;
  readonly stopSignal?: string;
  /** It sees the machine's processes, and is ended one process after the other. */
  readonly hostPid?: boolean;
  readonly hostIpc?: boolean;
  /** What podman calls it. */
  readonly engineId?: string;
}

function identityIn(value: Json | undefined): ProcessIdentity | undefined {
  if (!isObject(value)) return undefined;
  const { uid, gid, groups } = value;
  if (typeof uid !== "number" || typeof gid !== "number" || !Array.isArray(groups)) return undefined;
  return { uid, gid, groups: groups.filter((each) => typeof each === "number") };
}

const flagOf = (value: Json | undefined): true | undefined => (value === true ? true : undefined);

/** Reads what `JSON.stringify` wrote of an attempt. */
export function readContainer(path: string, ref: ContainerRef): SavedContainer | undefined {
  const raw = readJson(path);
  if (raw === undefined) return undefined;
  const state = textOf(raw["state"]);
  const list = (value: Json | undefined): string[] => (Array.isArray(value) ? value.map((each) => textOf(each)) : []);
  const optional = {
    finishedAtMs: numberOf(raw["finishedAtMs"]),
    exitCode: numberOf(raw["exitCode"]),
    memoryBytes: numberOf(raw["memoryBytes"]),
    resources: raw["resources"],
    identity: identityIn(raw["identity"]),
    reason: typeof raw["reason"] === "string" ? raw["reason"] : undefined,
    message: typeof raw["message"] === "string" ? raw["message"] : undefined,
    imageRoot: typeof raw["imageRoot"] === "string" ? raw["imageRoot"] : undefined,
    stopSignal: typeof raw["stopSignal"] === "string" ? raw["stopSignal"] : undefined,
    engineId: typeof raw["engineId"] === "string" ? raw["engineId"] : undefined,
    stdin: flagOf(raw["stdin"]),
    tty: flagOf(raw["tty"]),
    stdinOnce: flagOf(raw["stdinOnce"]),
    hostPid: flagOf(raw["hostPid"]),
    hostIpc: flagOf(raw["hostIpc"]),
  };
  return {
    ...ref,
    image: textOf(raw["image"]),
    imageId: textOf(raw["imageId"]),
    state: state === "exited" || state === "running" ? state : "starting",
    startedAtMs: numberOf(raw["startedAtMs"]) ?? 0,
    cgroup: textOf(raw["cgroup"]),
    workingDir: textOf(raw["workingDir"]),
    terminationFile: textOf(raw["terminationFile"]),
    execPrefix: list(raw["execPrefix"]),
    imagePaths: list(raw["imagePaths"]),
    ...definedOnly(optional),
  };
}
