import type { ApiClient } from "../client/types.js";
import type { Clock, Random } from "../clock/types.js";
import type { Kind, KubeObject } from "../kinds/object.js";
import type { Logger } from "../log/types.js";

/** Names one object of the kind that a controller is for; queues hold these, never objects. */
export interface Key {
  readonly namespace: string;
  readonly name: string;
}

/** A local, always fresh copy of all objects of a kind. Objects in it are shared: never change them. */
export interface Informer<T extends KubeObject> {
  readonly kind: Kind<T>;
  get(key: Key): T | undefined;
  list(namespace?: string): readonly T[];
  /** Objects under an index value; see `addIndex`. */
  byIndex(index: string, value: string): readonly T[];
  /** Adding the same index again does nothing. */
  addIndex(index: string, values: (object: T) => readonly string[]): void;
  /** Called with the object after each change (`old` absent: new; `now` absent: gone). Returns its removal. */
  onChange(handler: (now: T | undefined, old: T | undefined) => void): () => void;
  /** Resolves when the first list is in. */
  synced(signal?: AbortSignal): Promise<void>;
}

/** The informers of one cluster, one for a kind, shared by all controllers. They start on first use. */
export interface InformerSet {
  informer<T extends KubeObject>(kind: Kind<T>): Informer<T>;
  close(): Promise<void>;
}

/** One cluster as controllers see it. */
export interface ClusterAccess {
  /** `hub`, `cloud`, … */
  readonly name: string;
  readonly client: ApiClient;
  readonly informers: InformerSet;
}

/** What a controller returns: nothing (done), or when to look again at the latest. */
export interface ReconcileResult {
  readonly requeueAfterMs?: number;
}

/** What a reconcile is given besides its key. */
export interface ReconcileContext<T extends KubeObject> {
  readonly cluster: ClusterAccess;
  readonly clock: Clock;
  readonly random: Random;
  /** Already carries controller and key. */
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly informer: Informer<T>;
  readonly events: EventRecorder;
  /** Looks at another key of this controller now. */
  enqueue(key: Key, delayMs?: number): void;
}

export interface EventRecorder {
  /** Records a core/v1 Event about an object; equal ones are counted up, not repeated. Never throws. */
  record(about: KubeObject, type: "Normal" | "Warning", reason: string, message: string): void;
  /** The same in the form of events.k8s.io: with what was being done, and with whom. */
  report(event: ReportedEvent): void;
}

/** What there is to say about an object. */
export interface ReportedEvent {
  readonly about: KubeObject;
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly message: string;
  /** What was being done: `Binding`, `Scheduling`, … */
  readonly action: string;
  /** A second object that has to do with it. */
  readonly related?: KubeObject;
}

/** A second kind that wakes a controller. */
export interface WatchSpec {
  readonly kind: Kind;
  /** Keys to look at when such an object changes; called with the new and with the old state. */
  readonly keys: (object: KubeObject, informers: InformerSet) => readonly Key[];
  /** Whether a change of such an object is a reason to look; absent: every one is. */
  readonly concerns?: (now: KubeObject, old: KubeObject) => boolean;
  /** A cluster other than the controller's own. */
  readonly cluster?: ClusterAccess;
}

/** Everything that makes a controller. Register with `Manager.add`. */
export interface ControllerSpec<T extends KubeObject = KubeObject> {
  /** `kebab-case`; also field manager, metric label and event source. */
  readonly name: string;
  /** The source of its events, where it is another one. */
  readonly eventSource?: string;
  readonly kind: Kind<T>;
  /** Kinds whose owner reference (controller: true) points to `kind`. */
  readonly owns?: readonly Kind[];
  readonly watches?: readonly WatchSpec[];
  /** Whether a change of an object is a reason to look at it; absent: every one is. Looking again to be sure is not asked for. */
  concerns?(now: T, old: T): boolean;
  /** Whether there is nothing to do about an object that was just made; absent: there may be. Those that are there at the start are looked at in any case. */
  isIdle?(object: T): boolean;
  /** Looked at from the start on, whether there are such objects or not: what this controller keeps without being asked to by an object. */
  readonly keys?: readonly Key[];
  /** Keys worked on at once; default 2. Never two workers on one key. */
  readonly concurrency?: number;
  /** Set it to have `finalize` called before an object goes; added to objects before the first reconcile. */
  readonly finalizer?: string;
  /** Called for each change of the object or of what it owns or watches. `object` is undefined when it is gone. Thrown errors are retried with back-off; `TerminalError` is not. */
  reconcile(
    key: Key,
    object: T | undefined,
    context: ReconcileContext<T>,
  ): Promise<ReconcileResult | undefined> | Promise<void>;
  /** Called while deletionTimestamp is set; the finalizer is removed when it returns "done". */
  finalize?(object: T, context: ReconcileContext<T>): Promise<"done" | ReconcileResult>;
}
