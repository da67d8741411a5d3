import type { Clock } from "../../../kernel/clock/index.js";
import type { PodManager } from "../pods/manager.js";
import type { ContainerRecord, PodRuntime } from "../runtime/types.js";

/** kubelet's /stats/summary, the part that says who uses how much. */
export function statsSummary(place: {
  readonly pods: PodManager;
  readonly runtime: PodRuntime;
  readonly clock: Clock;
  readonly nodeName: string;
}): object {
  const time = new Date(place.clock.now()).toISOString();
  const pods = place.pods.pods().map((pod) => {
    const { name, namespace = "default", uid } = pod.metadata;
    const running = place.runtime.containers(uid).filter((record) => record.state === "running");
    const containers = running.map((record) => containerStats(record, place.runtime, time));
    return {
      podRef: { name, namespace, uid },
      startTime: pod.status?.startTime ?? null,
      containers,
      cpu: { time, usageCoreNanoSeconds: sum(containers, (each) => each.cpu.usageCoreNanoSeconds) },
      memory: { time, workingSetBytes: sum(containers, (each) => each.memory.workingSetBytes) },
    };
  });
  const memory = { time, workingSetBytes: sum(pods, (pod) => pod.memory.workingSetBytes) };
  const cpu = { time, usageCoreNanoSeconds: sum(pods, (pod) => pod.cpu.usageCoreNanoSeconds) };
  return { node: { nodeName: place.nodeName, cpu, memory }, pods };
}

function containerStats(record: ContainerRecord, runtime: PodRuntime, time: string) {
  const usage = runtime.usage(record) ?? { memoryBytes: 0, cpuNanos: 0 };
  return {
    name: record.name,
    startTime: new Date(record.startedAtMs).toISOString(),
    cpu: { time, usageCoreNanoSeconds: usage.cpuNanos },
    memory: { time, workingSetBytes: usage.memoryBytes, usageBytes: usage.memoryBytes, rssBytes: usage.memoryBytes },
  };
}

function sum<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}
