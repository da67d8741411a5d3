import type { ApiClient } from "../../../kernel/client/index.js";
import type { Clock } from "../../../kernel/clock/index.js";
import { isConflict, isNotFound } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { type Pod, PodKind, type PodStatus } from "../../../kernel/kinds/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import { equalJson, toJson } from "../../../kernel/schema/index.js";

export interface StatusWriterOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Entry {
  pod: Pod;
  wanted: JsonObject | undefined;
  written: JsonObject | undefined;
  writing: Promise<void> | undefined;
}

const firstRetryMs = 100;
const maxRetryMs = 10_000;

/** Writes pod statuses: only when they differ, one write a pod at a time, the last one wins, and never gives up. */
export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #stop = new AbortController();

  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  publish(pod: Pod, status: PodStatus): void {
    const { uid } = pod.metadata;
    const entry = this.#entries.get(uid) ?? { pod, wanted: undefined, written: jsonOf(pod.status), writing: undefined };
    this.#entries.set(uid, entry);
    entry.pod = pod;
    const wanted = jsonOf(status);
    const before = entry.wanted ?? entry.written;
    if (before !== undefined && wanted !== undefined && equalJson(before, wanted)) return;
    entry.wanted = wanted;
    this.#begin(entry);
  }

  #begin(entry: Entry): void {
    if (this.#stop.signal.aborted) return;
    entry.writing ??= this.#write(entry).finally(() => {
      entry.writing = undefined;
      // Something may have come in between the last look and now.
      if (entry.wanted !== undefined) this.#begin(entry);
    });
  }

  /** Resolves when the pod's last status is written. */
  async flush(uid: string): Promise<void> {
    const entry = this.#entries.get(uid);
    while (entry?.writing !== undefined) await entry.writing;
  }

  forget(uid: string): void {
    this.#entries.delete(uid);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    for (const entry of this.#entries.values()) await entry.writing;
  }

  async #write(entry: Entry): Promise<void> {
    let delayMs = firstRetryMs;
    while (entry.wanted !== undefined && !this.#stop.signal.aborted) {
      const wanted = entry.wanted;
      try {
        await this.#patch(entry, wanted);
        entry.written = wanted;
        if (entry.wanted === wanted) entry.wanted = undefined;
        delayMs = firstRetryMs;
      } catch (error) {
        if (isNotFound(error) || isConflict(error)) {
          entry.wanted = undefined;
          return;
        }
        this.#options.log.warn("a pod's status could not be written, trying again", {
          pod: entry.pod.metadata.name,
          err: error,
        });
        await this.#options.clock.sleep(delayMs, this.#stop.signal).catch(() => undefined);
        delayMs = Math.min(maxRetryMs, delayMs * 2);
      }
    }
  }

  /** The uid makes it fail with a conflict when another pod has taken the name. */
  async #patch(entry: Entry, wanted: JsonObject): Promise<void> {
    const { name, namespace = "default", uid } = entry.pod.metadata;
    const gone = Object.keys(entry.written ?? {}).filter((key) => wanted[key] === undefined);
    const status: JsonObject = { ...wanted, ...Object.fromEntries(gone.map((key) => [key, null])) };
    const patch = { metadata: { uid }, status };
    await this.#options.client.resource(PodKind).patch(name, "merge", patch, {
      namespace,
      subresource: "status",
      fieldManager: "kubelet",
      signal: this.#stop.signal,
    });
  }
}

function jsonOf(status: PodStatus | undefined): JsonObject | undefined {
  const json = toJson(status ?? {});
  return typeof json === "object" && json !== null && !Array.isArray(json) ? json : undefined;
}
