import type { Container, Pod } from "../../../kernel/kinds/index.js";

/** Init containers run one after the other; sidecars start in that order too, and stay; ephemeral ones are for debugging. */
export type ContainerRole = "init" | "sidecar" | "main" | "ephemeral";

/** All containers of a pod in the order in which they start. */
export function containersOf(pod: Pod): { container: Container; role: ContainerRole }[] {
  const inits = (pod.spec.initContainers ?? []).map((container) => ({
    container,
    role: container.restartPolicy === "Always" ? ("sidecar" as const) : ("init" as const),
  }));
  const mains = pod.spec.containers.map((container) => ({ container, role: "main" as const }));
  const ephemeral = (pod.spec.ephemeralContainers ?? []).map((container) => ({
    container,
    role: "ephemeral" as const,
  }));
  return [...inits, ...mains, ...ephemeral];
}

/** Whether an ended container of the pod is started again. */
export function shouldRestart(pod: Pod, role: ContainerRole, exitCode: number): boolean {
  if (role === "sidecar") return true;
  if (role === "ephemeral") return false;
  const policy = pod.spec.restartPolicy ?? "Always";
  if (role === "init") return exitCode !== 0 && policy !== "Never";
  return policy === "Always" || (policy === "OnFailure" && exitCode !== 0);
}

/** `name_namespace(uid)`, as kubelet writes pods in messages. */
export function podText(pod: Pod): string {
  return `${pod.metadata.name}_${pod.metadata.namespace ?? "default"}(${pod.metadata.uid})`;
}
