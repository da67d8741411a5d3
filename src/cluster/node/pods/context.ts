import type { Clock } from "../../../kernel/clock/index.js";
import type { EventRecorder } from "../../../kernel/control/index.js";
import type { Pod, PodStatus, Service } from "../../../kernel/kinds/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import type { ImageCatalogue } from "../images/catalogue.js";
import type { HostsFiles } from "../network/hosts.js";
import type { PodRuntime } from "../runtime/types.js";
import type { VolumeManager } from "../volumes/manager.js";
import type { Rejection } from "./admission.js";
import type { Abilities } from "./fields/types.js";

/** What all pod workers of a node share. */
export interface PodContext {
  readonly runtime: PodRuntime;
  readonly volumes: VolumeManager;
  readonly images: ImageCatalogue;
  readonly hosts: HostsFiles;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventRecorder;
  readonly hostIp: string;
  readonly clusterDomain: string;
  readonly allocatable: { readonly cpuMillis: number; readonly memoryBytes: number };
  /** What this node can carry out of a pod's spec. */
  readonly abilities: Abilities;
  services(): readonly Service[];
  /** Why this node does not take a pod that somebody gave it. */
  rejection(pod: Pod): Promise<Rejection | undefined>;
  /** Writes the status in the background; the last one wins. */
  publish(pod: Pod, status: PodStatus): void;
  /** Everything of a deleted pod is gone here: the object may go. */
  finished(pod: Pod): Promise<void>;
}
