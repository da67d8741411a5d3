import type { Clock, Random } from "../clock/index.js";
import { isExpired, isForbidden } from "../errors/index.js";
import type { KubeObject } from "../kinds/index.js";
import type { Logger } from "../log/index.js";
import { UnavailableError } from "./failures.js";
import type { ObjectCache } from "./object-cache.js";
import type { ResourceClient } from "./types.js";

/** What keeps one cache equal to the server. */
export interface ReflectorOptions<T extends KubeObject> {
  readonly resource: ResourceClient<T>;
  readonly cache: ObjectCache<T>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** A watch without any event or bookmark for this long is taken for dead. Servers send bookmarks about each minute. */
  readonly inactivityMs: number;
  /** Default: everything. */
  readonly fieldSelector?: string;
  /** Default: all of them. */
  readonly namespace?: string;
  /** Told after each list and watch: what was wrong with it; `undefined` when it was well. */
  readonly onRound?: (fault: unknown) => void;
}

const firstBackoffMs = 250;
const maxBackoffMs = 15_000;
/** A watch that lived this long was a good one: the next failure starts the back-off anew. */
const goodWatchMs = 5_000;
/** Servers end watches after this long or twice it, so that they spread over replicas (as client-go asks). */
const watchSeconds = 300;

/**
 * Lists, then watches, for ever: resumes from the last resourceVersion, lists again when that is too old (410), drops silent
 * connections, waits with jittered exponential back-off between failures. Resolves only when the signal is aborted.
 */
export async function runReflector<T extends KubeObject>(options: ReflectorOptions<T>): Promise<void> {
  const { clock, random, log, signal, resource } = options;
  let resourceVersion: string | undefined;
  let failures = 0;
  while (!signal.aborted) {
    const beganMs = clock.monotonicMs();
    const round: Round =
      resourceVersion === undefined ? await listOnce(options) : await watchOnce(options, resourceVersion);
    if (signal.aborted) return;
    options.onRound?.(isExpired(round.error) ? undefined : round.error);
    if (isExpired(round.error)) {
      log.info("history is gone, listing again", { kind: resource.kind.plural, resourceVersion });
      // Only a list that is itself answered with 410 must wait.
      const wasListing: boolean = resourceVersion === undefined;
      resourceVersion = undefined;
      if (!wasListing) continue;
    } else resourceVersion = round.resourceVersion;
    if (round.isFruitful || clock.monotonicMs() - beganMs >= goodWatchMs) failures = 0;
    if (round.error === undefined && round.isFruitful) continue;
    if (round.error !== undefined) tell(round.error, failures, options);
    const limitMs = Math.min(firstBackoffMs * 2 ** Math.min(failures, 10), maxBackoffMs);
    failures += 1;
    await clock.sleep(limitMs / 2 + random.next() * (limitMs / 2), signal).catch(() => undefined);
  }
}

/** A fault that stays is told once; one of rights at once, for they do not come by themselves. */
function tell<T extends KubeObject>(err: unknown, failures: number, { log, resource }: ReflectorOptions<T>): void {
  const level = failures === (isForbidden(err) ? 0 : 3) ? "warn" : "debug";
  log[level]("list or watch failed, trying again", { kind: resource.kind.plural, failures, err });
}

/** How one list or one watch connection ended. */
interface Round {
  /** Where to go on; absent: with a list. */
  readonly resourceVersion: string | undefined;
  /** Something came in, so the server is well. */
  readonly isFruitful: boolean;
  readonly error?: unknown;
}

async function listOnce<T extends KubeObject>(options: ReflectorOptions<T>): Promise<Round> {
  const { resource, cache, signal } = options;
  try {
    const list = await resource.list({ signal, isShared: true, ...partOf(options) });
    if (!signal.aborted) cache.replace(list.items, list.resourceVersion);
    return { resourceVersion: list.resourceVersion, isFruitful: true };
  } catch (error) {
    return { resourceVersion: undefined, isFruitful: false, error };
  }
}

type Part = Pick<ReflectorOptions<KubeObject>, "fieldSelector" | "namespace">;

function partOf({ fieldSelector, namespace }: Part): Part {
  return {
    ...(fieldSelector === undefined ? {} : { fieldSelector }),
    ...(namespace === undefined ? {} : { namespace }),
  };
}

/** One watch connection until it ends, however it ends. */
async function watchOnce<T extends KubeObject>(options: ReflectorOptions<T>, from: string): Promise<Round> {
  const { cache, random, resource } = options;
  const guard = guardActivity(options);
  let resourceVersion = from;
  let isFruitful = false;
  try {
    const timeoutSeconds = watchSeconds + random.int(watchSeconds);
    for await (const events of resource.watchTogether({
      resourceVersion,
      timeoutSeconds,
      allowWatchBookmarks: true,
      isShared: true,
      signal: guard.signal,
      ...partOf(options),
    })) {
      guard.touch();
      isFruitful = true;
      for (const event of events) {
        resourceVersion = event.object.metadata.resourceVersion;
        if (event.type === "BOOKMARK") cache.advance(resourceVersion);
        else cache.observe(event.type, event.object);
      }
    }
    return { resourceVersion, isFruitful };
  } catch (error) {
    return { resourceVersion, isFruitful, error };
  } finally {
    guard.release();
  }
}

/** Aborts when nothing was heard for the inactivity time: a half-open socket gives no error by itself. */
function guardActivity<T extends KubeObject>({ clock, signal, inactivityMs }: ReflectorOptions<T>) {
  const controller = new AbortController();
  const onAbort = (): void => controller.abort(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  let heardMs = clock.monotonicMs();
  // One timer that looks when it fires, instead of a new timer for each event.
  const check = (): void => {
    const quietMs = clock.monotonicMs() - heardMs;
    if (quietMs >= inactivityMs) controller.abort(new UnavailableError(`nothing heard for ${Math.round(quietMs)} ms`));
    else timer = clock.setTimer(inactivityMs - quietMs, check);
  };
  let timer = clock.setTimer(inactivityMs, check);
  return {
    signal: controller.signal,
    touch(): void {
      heardMs = clock.monotonicMs();
    },
    release(): void {
      timer.cancel();
      signal.removeEventListener("abort", onAbort);
    },
  };
}
