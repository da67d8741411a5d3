import type { Duplex } from "node:stream";
import type { StatusCause } from "../../kernel/errors/index.js";
import type { JsonObject, Kind } from "../../kernel/kinds/object.js";

/** Who asks, as TokenReview reports it. */
export interface UserInfo {
  readonly username: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

/** One request as every front end (TLS socket, in-process transport) hands it to the server. Header names are lower case. */
export interface ApiRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string>>;
  /** Headers that came more than once, value by value (impersonated groups may hold commas); `headers` has them joined. */
  readonly repeatedHeaders?: Readonly<Record<string, readonly string[]>>;
  /** The whole body, already bounded in size (3 MiB) by the front end. */
  readonly body: Uint8Array;
  /** Of a client in this process: what the body says, not to be changed. */
  readonly content?: object;
  /** The client is in this process and takes objects as they are, shared and not to be changed. */
  readonly takesObjects?: boolean;
  /** Subject of a client certificate that the front end verified against the cluster's CA: CN is the user, O are the groups. */
  readonly clientCertificate?: {
    readonly commonName: string;
    readonly organizations: readonly string[];
    /** SHA-256 of the certificate, in lower-case hexadecimal digits. */
    readonly fingerprint?: string;
  };
  /** A certificate was shown that the cluster's CA does not vouch for. */
  readonly hasStrangeCertificate?: boolean;
  /** Where the client's connection comes from; absent: it is in this process. */
  readonly remoteAddress?: string;
  /** Takes what the audit log shall say besides; absent: there is none. */
  readonly audit?: AuditNotes;
  readonly signal: AbortSignal;
}

/** What parts of the request line have to say to the audit log. */
export interface AuditNotes {
  /** The first value of a key stays. */
  annotate(key: string, value: string): void;
}

export interface ApiResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Go out as `Warning: 299 - "…"` headers, one each. */
  readonly warnings?: readonly string[];
  /** One piece, or a stream (watch, logs). */
  readonly body: Uint8Array | AsyncIterable<Uint8Array>;
  /** In the place of a body, where the request takes objects: the answer, shared and not to be changed. */
  readonly object?: JsonObject;
  /** In the place of a body: the events of a watch. */
  readonly events?: HandedEvents;
  /** The front end calls it when the answer is out, or nobody waits for it any more. */
  readonly done?: () => void;
}

export type Verb = "get" | "list" | "watch" | "create" | "update" | "patch" | "delete" | "deletecollection";

/** A watch event as it is handed over in one process. */
export interface HandedEvent {
  readonly type: string;
  readonly object: JsonObject;
}

/** Events as they come, those that wait together. */
export type HandedEvents = AsyncIterable<readonly HandedEvent[]>;

/** What a path means (Kubernetes' RequestInfo). */
export interface RequestInfo {
  readonly isResource: boolean;
  readonly verb: Verb | Lowercase<string>;
  readonly path: string;
  readonly group: string;
  readonly version: string;
  /** Plural. */
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
}

export interface Authenticator {
  /** `undefined`: these credentials are not mine. Throws a 401 `ApiError` for credentials that are mine and bad. */
  authenticate(request: ApiRequest): Promise<UserInfo | undefined>;
}

export interface AuthorizationAttributes {
  readonly user: UserInfo;
  readonly verb: string;
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  /** Set for requests that name no resource, `/healthz` say. */
  readonly nonResourcePath?: string;
  /** The query's `fieldSelector`: nodes may list single objects by it. */
  readonly fieldSelector?: string;
}

export interface Authorizer {
  authorize(attributes: AuthorizationAttributes): { readonly allowed: boolean; readonly reason: string };
}

/** What admission sees of a write. `object` is absent on delete, `old` on create. */
export interface AdmissionRequest {
  readonly operation: "CREATE" | "UPDATE" | "DELETE" | "CONNECT";
  readonly type: ResourceType;
  readonly subresource: string;
  /** What the object is where a subresource takes another kind than its resource is of (Scale, Eviction); absent: `type`. */
  readonly body?: ResourceType;
  readonly namespace: string;
  readonly name: string;
  readonly user: UserInfo;
  readonly object?: JsonObject;
  readonly old?: JsonObject;
  readonly dryRun: boolean;
  readonly warn: (message: string) => void;
  /** Absent: there is no audit log. */
  readonly audit?: AuditNotes;
}

/** One admission plugin. `mutate` may change `request.object` in place (it is private to the request); both throw `ApiError` to refuse. */
export interface AdmissionPlugin {
  readonly name: string;
  mutate?(request: AdmissionRequest): Promise<void> | void;
  validate?(request: AdmissionRequest): Promise<void> | void;
}

/** Column of a Table answer (kubectl get). */
export interface TableColumn {
  readonly name: string;
  readonly type: string;
  readonly format: string;
  readonly description: string;
  readonly priority: number;
}

/** What `decode` found besides the object: unknown and duplicate fields, worded as upstream. */
export interface Decoded {
  readonly object: JsonObject;
  readonly unknownFields: readonly string[];
}

/** Context of preparing and validating a write. */
export interface WriteContext {
  readonly now: string;
  readonly user: UserInfo;
  readonly subresource: string;
  /** Tells the client something about an object that is accepted (a `Warning` header). */
  readonly warn?: (message: string) => void;
}

/**
 * One served resource in one version (`apps/v1 deployments`): everything that differs between kinds. Native kinds and CRDs
 * implement the same interface; the verbs know no kind. Objects are plain JSON; methods that "prepare" change theirs in place.
 */
export interface ResourceType extends Kind {
  readonly singular: string;
  readonly listKind: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly verbs: readonly Verb[];
  /** Subresources besides the object itself, with the kind that their bodies have. */
  readonly subresources: ReadonlyMap<string, SubresourceType>;
  /** Group under whose keys objects are stored, and by which failures call them; absent: the resource's own. */
  readonly storageGroup?: string;
  /** Version in which objects are stored; several served versions of one resource share keys. */
  readonly storageVersion: string;
  readonly custom: boolean;

  /** Wire JSON (already parsed) → object of this kind: checks apiVersion and kind, prunes unknown fields and reports them. Throws 400 `ApiError`. */
  decode(raw: JsonObject, options?: { readonly isConverted: boolean }): Decoded;
  applyDefaults(object: JsonObject): void;
  /** Members that a write by a subresource leaves as they were, whatever it says. Absent: nothing is known of that. */
  leftAloneBy?(subresource: string): readonly string[];
  /** Server-owned fields on create: status dropped where there is a status subresource, generation, kind-specific things (ClusterIP is admission's). */
  prepareForCreate(object: JsonObject, context: WriteContext): void;
  /** On update: status or spec carried over from `old` by subresource, generation raised when the rest changed. */
  prepareForUpdate(object: JsonObject, old: JsonObject, context: WriteContext): void;
  validateCreate(object: JsonObject, context: WriteContext): StatusCause[] | Promise<StatusCause[]>;
  validateUpdate(object: JsonObject, old: JsonObject, context: WriteContext): StatusCause[] | Promise<StatusCause[]>;
  /** Stored (storage version) → this version, and back. Identity for most. */
  fromStorage(object: JsonObject): JsonObject | Promise<JsonObject>;
  toStorage(object: JsonObject): JsonObject | Promise<JsonObject>;
  /** Values that field selectors may name; metadata.name and metadata.namespace always. */
  selectableFields(object: JsonObject): Readonly<Record<string, string>>;
  /** Field labels that selectors may use; others are refused with 400. */
  readonly selectableFieldNames: readonly string[];
  readonly columns: readonly TableColumn[];
  /** Cells of one Table row, in the order of `columns`. `now` for ages. */
  cells(object: JsonObject, now: number): (string | number | boolean | null)[];
  /** Goes out as a `Warning` with every answer about this kind: the version is deprecated. */
  readonly deprecation?: string;
  /** A PUT makes what is not there. */
  readonly createsOnUpdate?: boolean;
  /** Updates must name the version that they change. */
  readonly needsVersion?: boolean;
  /** What upstream calls the struct of the kind; absent: by group and kind. */
  readonly goName?: string;
  /** Where the scale subresource finds its numbers; absent: there is none. */
  readonly scale?: ScalePaths;
  /** How objects of this kind go; absent: at once, unless finalizers hold them. */
  readonly deletion?: DeletionRules;
  /** Merges by schema: strategic (native kinds only; CRDs answer 415) and server-side apply. */
  readonly merge: MergeSchema;
}

/** What is peculiar to deleting objects of one kind. */
export interface DeletionRules {
  /** Seconds that the object is kept so that someone can end what it stands for; 0: none. `asked` is gracePeriodSeconds, where it was given. */
  graceSeconds?(object: JsonObject, asked: number | undefined): number;
  /** Whether something besides metadata.finalizers and the grace period holds the object. */
  isHeld?(object: JsonObject): boolean;
  /** Changes the object (its own copy) when its deletion begins. */
  begin?(object: JsonObject): void;
  /** What happens to dependents when the request does not say; default: they are deleted after their owner. `None`: there are none, whatever it says. */
  readonly defaultPropagation?: "Orphan" | "None";
  /** Told to who deletes without saying what shall happen to dependents. */
  readonly propagationWarning?: string;
  /** The answer to a finished delete is the object, not a Status. */
  readonly returnsObject?: boolean;
}

/** Paths in an object (`.spec.replicas`) of what its Scale shows. */
export interface ScalePaths {
  readonly specReplicasPath: string;
  readonly statusReplicasPath: string;
  /** Of the selector as text; empty: the object has none, or (native kinds) it is its LabelSelector. */
  readonly labelSelectorPath: string;
}

export interface SubresourceType {
  readonly name: string;
  readonly kind: string;
  readonly group: string;
  readonly version: string;
  readonly verbs: readonly string[];
}

/** Schema-driven merging of one kind. */
export interface MergeSchema {
  readonly supportsStrategic: boolean;
  strategicMerge(current: JsonObject, patch: JsonObject): JsonObject;
  /** Records `manager` as owner of what changed between `old` and `object` (old absent: created); writes metadata.managedFields of `object`. */
  trackUpdate(object: JsonObject, old: JsonObject | undefined, by: FieldManager): void;
  /** Server-side apply: returns the merged object with managedFields; throws a 409 `ApiError` listing conflicts unless forced. `current` absent: create. */
  apply(
    current: JsonObject | undefined,
    applied: JsonObject,
    by: FieldManager & { readonly force: boolean },
  ): JsonObject;
}

export interface FieldManager {
  readonly manager: string;
  readonly subresource: string;
  /** RFC 3339, seconds. */
  readonly now: string;
}

/** All resources that are served. Native ones are there from the start; CRDs come and go. */
export interface Registry {
  find(group: string, version: string, plural: string): ResourceType | undefined;
  /** Every served (resource, version). */
  all(): readonly ResourceType[];
  /** Raised on every change of a CRD; clients' discovery caches and OpenAPI documents depend on it. */
  readonly revision: number;
  /** Answers discovery (/api, /apis, aggregated), /openapi/v2, /openapi/v3[...] and /version; `undefined` for other paths. */
  answer(request: ApiRequest): ApiResponse | undefined;
}

/** An object in the store at one revision. `value` is shared and must not be changed; `bytes` is its JSON, encoded once, resourceVersion included. */
export interface Stored {
  readonly key: string;
  readonly revision: number;
  readonly value: JsonObject;
  readonly bytes: Uint8Array;
}

export type StoreEvent =
  | { readonly type: "put"; readonly now: Stored; readonly old: Stored | undefined }
  /** `old` is the last state; `now` is the same with its resourceVersion raised to the revision of the deletion. */
  | { readonly type: "delete"; readonly now: Stored; readonly old: Stored };

/**
 * MVCC over a journal. Keys are `/<group>/<plural>/<namespace>/<name>` (namespace empty for cluster-scoped kinds). Writes
 * resolve when durable (group commit, fsync). Reads are served from memory and see every acknowledged write.
 */
export interface Store {
  readonly revision: number;
  get(key: string): Stored | undefined;
  /** Items in key order. `at` reads an older revision; throws a 410 `ApiError` when compacted. */
  list(
    prefix: string,
    options?: { at?: number; after?: string; limit?: number },
  ): { items: readonly Stored[]; revision: number; more: boolean; remaining: number };
  /** Throws `ApiError` AlreadyExists/Conflict/NotFound built from `about`. `value` must not be touched afterwards. */
  create(key: string, value: JsonObject): Promise<Stored>;
  /** Compare-and-swap on the revision read. */
  update(key: string, expectedRevision: number, value: JsonObject): Promise<Stored>;
  delete(key: string, expectedRevision: number): Promise<Stored>;
  /** Calls `onEvents` (batches, in order) for everything after `fromRevision`. Throws 410 when compacted. `onClose` when the watcher was too slow or the store closes. */
  watch(prefix: string, fromRevision: number, handlers: WatchHandlers): WatchHandle;
  close(): Promise<void>;
}

/** What a watch calls. */
export interface WatchHandlers {
  /** In a crowd of watchers, events may come a little later and several at a time; default: each at once. */
  readonly isPatient?: boolean;
  onEvents(events: readonly StoreEvent[]): void;
  onClose(error?: Error): void;
}

/** An open watch. */
export interface WatchHandle {
  close(): void;
  /** Hands over what waits for a patient watch: afterwards it has seen everything up to the store's revision. */
  catchUp(): void;
}

/** What is sent in with POST, answered and never stored: TokenReview, SubjectAccessReview, …, and subresources such as `pods/eviction`. */
export interface VirtualResource {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  /** Below objects of the resource. Absent: it is the resource itself. */
  readonly subresource?: string;
  /** What its bodies are; absent: of the resource's own kind. */
  readonly body?: ResourceType;
  /** uid and resourceVersion of a body are preconditions: they are left in it. */
  readonly keepsIdentity?: boolean;
  create(request: VirtualRequest): Promise<JsonObject>;
}

/** One request to a virtual resource. */
export interface VirtualRequest {
  /** Decoded: kind checked, unknown fields pruned. */
  readonly object: JsonObject;
  readonly namespace: string;
  /** The object in the path, of subresources. */
  readonly name: string;
  readonly user: UserInfo;
  readonly dryRun: boolean;
  /** Lets admission look at the object once it was checked. Throws its refusal. */
  readonly admit: () => Promise<void>;
}

/** What an upgrade (WebSocket, SPDY) was answered with: the peer's headers of its 101 and the raw bytes from there on. */
export interface Upgraded {
  readonly headers: Readonly<Record<string, string>>;
  readonly socket: Duplex;
}

/** Answers subresources that are no reads or writes of anything: log, exec, attach, portforward, proxy. */
export interface SubresourceHandler {
  /** For instance `pods/log`, and of one group alone `clusters.cluster.karmada.io/proxy`. */
  readonly path: string;
  /** Its answers may go on for long: they are broken off, by the request's signal, when the right to them goes. Upgrades always are. */
  readonly isLasting?: boolean;
  handle(context: SubresourceContext): Promise<ApiResponse>;
  /**
   * For requests with an `upgrade` header (their headers, `connection`, `upgrade` and `sec-websocket-*` included, are in
   * `context.request`). The front end writes the 101 with the answered headers and joins the two streams, raw. Throws `ApiError`.
   */
  readonly upgrade?: (context: SubresourceContext) => Promise<Upgraded>;
}

export interface SubresourceContext {
  readonly request: ApiRequest;
  readonly info: RequestInfo;
  readonly type: ResourceType;
  readonly user: UserInfo;
  readonly store: Store;
}
