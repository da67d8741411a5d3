import { existsSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import type { Container, Pod } from "../../../kernel/kinds/index.js";
import { toJson } from "../../../kernel/schema/index.js";
import { NodeError } from "../errors.js";
import type { ContainerMount, ContainerSpec } from "../runtime/types.js";
import type { PodContext } from "./context.js";
import { expandVariables, resolveEnvironment } from "./env.js";
import { limitsOf, userOf } from "./limits.js";
import { kernelHostnameOf } from "./names.js";

/** File of a pod's folder that its containers see as /etc/resolv.conf, where it is not the machine's. */
export const resolvConfName = "resolv.conf";

interface SpecRequest {
  readonly context: PodContext;
  readonly pod: Pod;
  readonly container: Container;
  readonly podIp: string;
  readonly attempt: number;
}

/** Resolves everything that a container names: image, environment, volumes, user. Throws a `NodeError` whose code is the waiting reason. */
export async function buildContainerSpec(request: SpecRequest): Promise<{ spec: ContainerSpec; warning?: string }> {
  const { context, pod, container, podIp, attempt } = request;
  const image = await context.images.resolve(container.image ?? "");
  const env = await resolveEnvironment({
    pod,
    container,
    podIp,
    hostIp: context.hostIp,
    hostname: kernelHostnameOf(pod, context.clusterDomain),
    imageEnv: image.env,
    services: context.services(),
    sources: context.volumes.sources,
    allocatable: context.allocatable,
  });
  const expand = (texts: readonly string[] | undefined): string[] =>
    (texts ?? []).map((text) => expandVariables(text, env));
  const given = expand(container.command);
  const args = expand(container.args);
  const command =
    given.length > 0 ? [...given, ...args] : [...image.entrypoint, ...(args.length > 0 ? args : image.cmd)];
  if (command.length === 0)
    throw new NodeError("CreateContainerError", `no command specified: image "${container.image}" has no entrypoint`);
  const terminationMessagePath = container.terminationMessagePath ?? "/dev/termination-log";
  if (!isAbsolute(terminationMessagePath))
    throw new NodeError(
      "CreateContainerConfigError",
      `terminationMessagePath "${terminationMessagePath}" is not absolute`,
    );
  const stopSignal = stopSignalOf(container) ?? image.stopSignal;
  const spec: ContainerSpec = {
    podUid: pod.metadata.uid,
    name: container.name,
    attempt,
    image: container.image ?? "",
    imageId: image.id,
    command,
    env: [...env],
    workingDir: container.workingDir ?? image.workingDir,
    mounts: mountsOf(request, env),
    imagePaths: image.paths,
    limits: limitsOf(container),
    resources: toJson(container.resources ?? {}),
    user: userOf(pod, container, image),
    stdin: container.stdin === true,
    stdinOnce: container.stdinOnce === true,
    tty: container.tty === true,
    terminationMessagePath,
    annotations: pod.metadata.annotations ?? {},
    ...(image.root === undefined ? {} : { imageRoot: image.root }),
    ...(stopSignal === undefined ? {} : { stopSignal }),
  };
  return image.warning === undefined ? { spec } : { spec, warning: image.warning };
}

/** `lifecycle.stopSignal`, which the types of Kubernetes 1.30 do not have. */
function stopSignalOf(container: Container): string | undefined {
  const lifecycle: object = container.lifecycle ?? {};
  return "stopSignal" in lifecycle && typeof lifecycle.stopSignal === "string" ? lifecycle.stopSignal : undefined;
}

function mountsOf({ context, pod, container }: SpecRequest, env: ReadonlyMap<string, string>): ContainerMount[] {
  // Simulated containers have no file system.
  if (context.runtime.name === "simulated") return [];
  const mounts = context.volumes.mountsOf(pod, container, env);
  const resolver = join(context.runtime.podFolder(pod.metadata.uid), resolvConfName);
  const files: [string, string | undefined][] = [
    ["/etc/hosts", context.hosts.pathOf(pod.metadata.uid)],
    ["/etc/resolv.conf", existsSync(resolver) ? resolver : undefined],
  ];
  const own = files.flatMap(([containerPath, hostPath]) => {
    const isTaken = mounts.some((mount) => mount.containerPath === containerPath);
    return hostPath === undefined || isTaken ? [] : [{ containerPath, hostPath, readOnly: false }];
  });
  return [...mounts, ...own];
}
