import { type Pod, parseQuantity, quantityToNumber } from "../../../kernel/kinds/index.js";

/** A bound on what a volume or a container writes. */
export interface DiskLimit {
  readonly name: string;
  readonly bytes: number;
  /** As the pod writes it. */
  readonly text: string;
}

/** What a pod may write to disk or memory file systems. */
export interface DiskLimits {
  readonly volumes: readonly DiskLimit[];
  readonly containers: readonly DiskLimit[];
  /** Of all containers and disk volumes together, where every container has a limit; its volumes are counted in. */
  readonly pod: { readonly bytes: number; readonly volumes: readonly string[] } | undefined;
}

const resource = "ephemeral-storage";

/** The limits of a pod; `undefined` when it has none. */
export function diskLimitsOf({ spec }: Pod): DiskLimits | undefined {
  const volumes = (spec.volumes ?? []).flatMap(({ name, emptyDir }) => limit(name, emptyDir?.sizeLimit));
  const containers = spec.containers.flatMap((each) => limit(each.name, each.resources?.limits?.[resource]));
  if (volumes.length + containers.length === 0) return undefined;
  const isWhole = containers.length === spec.containers.length;
  const onDisk = (spec.volumes ?? []).filter(({ emptyDir }) => emptyDir !== undefined && emptyDir.medium !== "Memory");
  const pod = { bytes: containers.reduce((sum, each) => sum + each.bytes, 0), volumes: onDisk.map(({ name }) => name) };
  return { volumes, containers, pod: isWhole ? pod : undefined };
}

function limit(name: string, quantity: string | number | undefined): DiskLimit[] {
  if (quantity === undefined) return [];
  const bytes = quantityToNumber(parseQuantity(String(quantity)));
  return bytes > 0 ? [{ name, bytes, text: String(quantity) }] : [];
}

/** What a pod has written; `undefined`: it cannot be told. */
export interface DiskUse {
  volume(name: string): Promise<number | undefined>;
  container(name: string): Promise<number | undefined>;
}

/** The first limit that is exceeded, in kubelet's words. */
export async function diskExcess(limits: DiskLimits, use: DiskUse): Promise<string | undefined> {
  for (const { name, bytes, text } of limits.volumes) {
    if (((await use.volume(name)) ?? 0) > bytes)
      return `Usage of EmptyDir volume "${name}" exceeds the limit "${text}". `;
  }
  let total = 0;
  for (const { name, bytes, text } of limits.containers) {
    const used = (await use.container(name)) ?? 0;
    if (used > bytes) return `Container ${name} exceeded its local ephemeral storage limit "${text}". `;
    total += used;
  }
  if (limits.pod === undefined) return undefined;
  for (const name of limits.pod.volumes) total += (await use.volume(name)) ?? 0;
  if (total <= limits.pod.bytes) return undefined;
  return `Pod ephemeral local storage usage exceeds the total limit of containers ${limits.pod.bytes}. `;
}
