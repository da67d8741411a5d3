import type { Duplex as ByteStream } from "node:stream";
import type { Draft, Json, JsonObject, Kind, KubeObject } from "../kinds/object.js";

/** One HTTP exchange with an API server, below all typing. */
export interface TransportRequest {
  readonly method: string;
  /** Path with its query string. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Headers that go out once for each value. */
  readonly repeatedHeaders?: Readonly<Record<string, readonly string[]>>;
  readonly body?: Uint8Array | string;
  /** In the place of a body, for a server in the same process: what the body is to say as JSON. It is read, and neither changed nor kept. */
  readonly content?: object;
  readonly signal?: AbortSignal;
  /**
   * Objects may be answered as they are, shared and without managedFields: whoever asks so does not change them. Only a server in the
   * same process heeds it.
   */
  readonly takesObjects?: boolean;
  /** Nothing is read of the answer before all of it is there. */
  readonly wantsWhole?: boolean;
}

/** Headers are lower case. The body is read once, or dropped with `discard`. */
export interface TransportResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: AsyncIterable<Uint8Array>;
  /** The body, where it is here already. */
  readonly whole?: Buffer;
  /** In the place of a body, where the request takes objects. */
  readonly object?: JsonObject;
  /** In the place of a body: the events of a watch, those that wait together. */
  readonly events?: AsyncIterable<readonly HandedEvent[]>;
}

/** A watch event as a server in the same process hands it over. */
export interface HandedEvent {
  readonly type: string;
  readonly object: JsonObject;
}

/** A full-duplex message channel (WebSocket, v5.channel.k8s.io) of exec, attach and port-forward. */
export interface Duplex {
  send(data: Uint8Array): void;
  /** Messages until the peer closes. */
  readonly messages: AsyncIterable<Uint8Array>;
  /** The subprotocol that the server chose. */
  readonly protocol: string;
  close(code?: number): void;
}

/** What became of a connection by an upgrade: the server's headers of its 101, and the raw bytes from there on. */
export interface Switched {
  readonly headers: Readonly<Record<string, string>>;
  readonly socket: ByteStream;
}

/** What a client speaks through: HTTP over TLS, or an embedded server in the same process. */
export interface Transport {
  /** Leads to a server in this process, whose answers to writes come by themselves, and which takes `content`. */
  readonly isLocal?: boolean;
  request(request: TransportRequest): Promise<TransportResponse>;
  upgrade(path: string, protocols: readonly string[], signal?: AbortSignal): Promise<Duplex>;
  /** Any upgrade (WebSocket, SPDY) as it is, with the handshake in the request's headers. Throws the server's refusal as an `ApiError`. Absent: there is no way. */
  switchProtocols?(request: Omit<TransportRequest, "body">): Promise<Switched>;
  close(): Promise<void>;
}

export interface ListOptions {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly limit?: number;
  readonly continue?: string;
  readonly resourceVersion?: string;
  readonly resourceVersionMatch?: "Exact" | "NotOlderThan";
  /** Objects may be shared with others, and come without managedFields: they are not changed. */
  readonly isShared?: boolean;
  readonly signal?: AbortSignal;
}

export interface ObjectList<T> {
  readonly items: T[];
  readonly resourceVersion: string;
  readonly continue?: string;
}

export interface WatchOptions extends ListOptions {
  readonly timeoutSeconds?: number;
  readonly allowWatchBookmarks?: boolean;
}

/** `BOOKMARK` carries only a resourceVersion. Errors of the stream are thrown as `ApiError`. */
export type WatchEvent<T> = { readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK"; readonly object: T };

export interface WriteOptions {
  readonly namespace?: string;
  readonly dryRun?: boolean;
  readonly fieldManager?: string;
  readonly fieldValidation?: "Ignore" | "Warn" | "Strict";
  /** For instance `status` or `scale`. */
  readonly subresource?: string;
  readonly signal?: AbortSignal;
  /** The signal ends the call in good time: it gets no other limit. */
  readonly isBounded?: boolean;
}

export interface ApplyOptions extends WriteOptions {
  readonly fieldManager: string;
  readonly force?: boolean;
}

export interface DeleteOptions {
  readonly namespace?: string;
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: "Foreground" | "Background" | "Orphan";
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly signal?: AbortSignal;
}

export type PatchType = "json" | "merge" | "strategic";

/** An object to be applied: any part of it, but with its name. */
export type ApplyObject = { metadata: { name: string; namespace?: string; [field: string]: Json | undefined } } & {
  [field: string]: unknown;
};

/**
 * Typed calls on one kind. `namespace` is required in calls on one namespaced object; every failure is an `ApiError`. What a
 * write answers may be shared with informers: never change it.
 */
export interface ResourceClient<T extends KubeObject> {
  readonly kind: Kind<T>;
  get(name: string, options?: { namespace?: string; signal?: AbortSignal }): Promise<T>;
  /** `undefined` instead of a 404. */
  find(name: string, options?: { namespace?: string; signal?: AbortSignal }): Promise<T | undefined>;
  /** One page, or everything when no limit is given (read in pages of 500). */
  list(options?: ListOptions): Promise<ObjectList<T>>;
  watch(options?: WatchOptions): AsyncIterable<WatchEvent<T>>;
  /** The same; what arrives together is given together. */
  watchTogether(options?: WatchOptions): AsyncIterable<readonly WatchEvent<T>[]>;
  create(object: Draft<T>, options?: WriteOptions): Promise<T>;
  /** Replaces; `metadata.resourceVersion` makes it conditional. */
  update(object: T, options?: WriteOptions): Promise<T>;
  updateStatus(object: T, options?: WriteOptions): Promise<T>;
  patch(name: string, type: PatchType, patch: JsonObject | Json[], options?: WriteOptions): Promise<T>;
  /** Server-side apply; apiVersion and kind are filled in. */
  apply(object: ApplyObject, options: ApplyOptions): Promise<T>;
  applyStatus(object: ApplyObject, options: ApplyOptions): Promise<T>;
  /** Resolves also when the object is already gone. */
  delete(name: string, options?: DeleteOptions): Promise<void>;
  deleteCollection(options?: ListOptions & DeleteOptions): Promise<void>;
}

/** A write of this client that the server acknowledged, in the order of acknowledgement. */
export type AcknowledgedWrite =
  | { readonly type: "put"; readonly object: KubeObject; readonly isShared: boolean }
  | { readonly type: "gone"; readonly namespace: string; readonly name: string; readonly uid: string };

/** A client of one cluster's API with one identity. */
export interface ApiClient {
  /** Tells of every acknowledged write, so that caches can read their own writes. Returns its removal. */
  onWrite?(listener: (kind: Kind, write: AcknowledgedWrite) => void): () => void;
  resource<T extends KubeObject>(kind: Kind<T>): ResourceClient<T>;
  /** For kinds known only at run time. */
  dynamic(kind: Kind): ResourceClient<KubeObject & Record<string, unknown>>;
  /** Finds a kind by apiVersion and kind through discovery (cached, refreshed on a miss); `undefined` if the cluster has no such kind. */
  findKind(apiVersion: string, kind: string): Promise<Kind | undefined>;
  /** Any path; JSON in, JSON out. */
  json(
    method: string,
    path: string,
    body?: Json,
    options?: { signal?: AbortSignal; headers?: Record<string, string> },
  ): Promise<Json>;
  readonly transport: Transport;
  close(): Promise<void>;
}
