import { chmodSync, closeSync, existsSync, mkdirSync, openSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../../../kernel/clock/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import type { Isolation } from "../../isolation/detect.js";
import type { PodNetwork } from "../../network/types.js";
import { buildEtcTemplate } from "../etc-template.js";
import { identityOf } from "../privileges.js";
import type { NodeFiles, SavedContainer } from "../process-files.js";
import { prepareContent } from "../rootfs.js";
import { type ContainerMount, type ContainerSpec, containerIdOf, type SandboxRecord } from "../types.js";
import { createBody } from "./create.js";
import { openInputSuffix, type PodmanEngine } from "./engine.js";

/** Label of a container: the folder of the node that it belongs to. */
export const nodeLabel = "argosy.dev/node";
const resolvConf = "/etc/resolv.conf";

interface PrepareRequest {
  readonly dataDir: string;
  readonly files: NodeFiles;
  readonly isolation: Isolation;
  readonly network: PodNetwork;
  readonly engine: PodmanEngine;
  readonly clock: Clock;
  readonly hiddenPaths?: readonly string[];
  readonly spec: ContainerSpec;
  readonly pod: SandboxRecord;
  /** See `PodAddress`. */
  readonly namespace: string | undefined;
}

/** The part of the machine's /etc that containers with its userland see. */
export async function makeEtc(files: NodeFiles, network: PodNetwork): Promise<void> {
  if (!existsSync(files.etc)) await buildEtcTemplate(files.etc, network.nameserver);
}

/** What podman calls the container of an attempt. */
export function engineName(spec: Pick<ContainerSpec, "podUid" | "name" | "attempt" | "stdin" | "stdinOnce">): string {
  const isOpen = spec.stdin && spec.stdinOnce !== true;
  return `${containerIdOf(spec)}${isOpen ? openInputSuffix : ""}`;
}

/** Makes the attempt's folder, and says what to keep of it and what to ask podman for. Throws a `NodeError` for what cannot be. */
export async function prepareContainer(request: PrepareRequest): Promise<{ saved: SavedContainer; body: JsonObject }> {
  const { files, spec, pod, isolation, engine } = request;
  const folder = files.attempt(spec);
  await rm(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o711 });
  const terminationFile = join(folder, "termination");
  writeFileSync(terminationFile, "");
  chmodSync(terminationFile, 0o666);
  closeSync(openSync(files.log(spec), "a", 0o640));
  const root = files.root(spec);
  const body = createBody({
    name: engineName(spec),
    labels: { [nodeLabel]: request.dataDir },
    spec,
    pod,
    root,
    mounts: prepareContent({
      root,
      mode: "root",
      hasPidNamespace: pod.hostPid !== true,
      mounts: withOwn(request, terminationFile),
      imagePaths: spec.imagePaths,
      ...(spec.imageRoot === undefined ? {} : { imageRoot: spec.imageRoot }),
      readOnlyRoot: spec.user.readOnlyRoot === true,
      etcTemplate: files.etc,
      hiddenPaths: [request.dataDir, ...(request.hiddenPaths ?? [])],
    }),
    logPath: files.log(spec),
    networkNamespace: request.namespace,
    cgroupParent: engine.cgroupParent,
    limitsSwap: countsSwap(isolation),
  });
  return { saved: savedOf(request, terminationFile), body };
}

/** The volumes, and files of the node that the pod does not cover by one. */
function withOwn({ spec, network }: PrepareRequest, terminationFile: string): ContainerMount[] {
  const own: ContainerMount[] = [
    { containerPath: spec.terminationMessagePath, hostPath: terminationFile, readOnly: false },
    // With the machine's userland it is there anyway.
    ...(spec.imageRoot !== undefined && network.nameserver === undefined && existsSync(resolvConf)
      ? [{ containerPath: resolvConf, hostPath: resolvConf, readOnly: true }]
      : []),
  ];
  return [
    ...spec.mounts,
    ...own.filter((each) => spec.mounts.every((mount) => mount.containerPath !== each.containerPath)),
  ];
}

function savedOf({ spec, clock }: PrepareRequest, terminationFile: string): SavedContainer {
  return {
    podUid: spec.podUid,
    name: spec.name,
    attempt: spec.attempt,
    image: spec.image,
    imageId: spec.imageId,
    ...(spec.resources === undefined ? {} : { resources: spec.resources }),
    identity: identityOf(spec.user, "root"),
    state: "starting",
    startedAtMs: clock.now(),
    cgroup: "",
    workingDir: spec.workingDir,
    terminationFile,
    execPrefix: [],
    imagePaths: spec.imagePaths,
    ...(spec.limits.memoryBytes === undefined ? {} : { memoryBytes: spec.limits.memoryBytes }),
    ...(spec.imageRoot === undefined ? {} : { imageRoot: spec.imageRoot }),
    ...(spec.stdin ? { stdin: true } : {}),
    ...(spec.tty === true ? { tty: true } : {}),
    ...(spec.stdin && spec.stdinOnce === true ? { stdinOnce: true } : {}),
    ...(spec.stopSignal === undefined ? {} : { stopSignal: spec.stopSignal }),
  };
}

/** In version 1 the kernel may have been told not to count swap by group. */
function countsSwap({ cgroup }: Isolation): boolean {
  if (cgroup?.version === 2) return true;
  return cgroup?.folders.memory !== undefined && existsSync(join(cgroup.folders.memory, "memory.memsw.limit_in_bytes"));
}
