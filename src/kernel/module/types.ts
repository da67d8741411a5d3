import type { Switched, TransportResponse } from "../client/types.js";
import type { ClusterAccess, ControllerSpec } from "../control/types.js";
import type { StatusCause } from "../errors/index.js";
import type { KindDefinition } from "../kinds/define.js";
import type { JsonObject, Kind } from "../kinds/object.js";

/** Where controllers run: in the hub, in each member, on each node. */
export type Level = "continuum" | "cluster" | "node";

/** rbac.authorization.k8s.io/v1 PolicyRule. */
export interface PolicyRule {
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
  readonly verbs: readonly string[];
}

/** A request to a module's HTTP route, already authenticated and authorized. */
export interface RouteRequest {
  readonly method: string;
  readonly path: string;
  /** Values of `:name` and `*rest` in the route's path. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string>>;
  readonly user: { readonly username: string; readonly groups: readonly string[] };
  /** The body as it arrives; bounded by the route's `maxBodyBytes`. */
  readonly body: AsyncIterable<Uint8Array>;
  readonly signal: AbortSignal;
}

export interface RouteResponse {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array>;
}

export interface HttpRoute {
  readonly method: string;
  /** `/api/2.0/mlflow/runs/create`; `:name` matches one segment, `*rest` at the end matches what is left. */
  readonly path: string;
  /** What the caller must be allowed to do in the hub (checked by SubjectAccessReview); absent: any authenticated user. */
  readonly permission?: { readonly verb: string; readonly group: string; readonly resource: string };
  /** Answered without any identity; only for what tells nothing (health, version). */
  readonly anonymous?: boolean;
  /** Default 1 MiB. */
  readonly maxBodyBytes?: number;
  handle(request: RouteRequest): Promise<RouteResponse>;
}

/** What is said of an object before it is stored. */
export interface AdmissionReview {
  /** Each refuses the write; fields are paths from the object's root. */
  readonly faults: readonly StatusCause[];
  /** Told to who writes; the write goes on. */
  readonly warnings: readonly string[];
  /** Refuses the write as an admission webhook of this name does (403): for kinds whose clients know such answers. */
  readonly denial?: { readonly webhook: string; readonly message: string };
}

/** What completing an object may draw on. */
export interface CompletionContext {
  /** RFC 3339, seconds. */
  readonly now: string;
  /** A new random identifier. */
  readonly uuid: () => string;
}

/** Which objects of all kinds an admission is about; whoever asks need not ask about others. */
export interface AdmissionLabel {
  readonly key: string;
  readonly value: string;
  /** Name of the webhook, in the form of a domain. */
  readonly webhook: string;
}

/** A module's look at objects before they are stored, and before they are removed. */
export interface ModuleAdmission {
  /** Absent: objects of every kind. */
  readonly kind?: Kind;
  /** Without a kind: the label of the objects that it has something to say about, and as which webhook another's server asks it. */
  readonly label?: AdmissionLabel;
  /** In the clusters of which level. */
  readonly level: Level;
  /**
   * Fills in, in place, what the writer left out of an object (its private copy) that is created or changed, not for its status. It comes before
   * the schema is checked, so the object may hold anything; what it throws is logged, and the write goes on.
   */
  readonly complete?: (object: JsonObject, old: JsonObject | undefined, context: CompletionContext) => void;
  /**
   * Called when an object is created or changed, not for its status. `cluster` is where it is written, with the rights of the module's agent
   * there. It must not write, and must accept an object whose changed part it has nothing against, however the rest is. What it
   * throws is logged, and the write goes on.
   */
  readonly review?: (
    object: JsonObject,
    old: JsonObject | undefined,
    cluster: ClusterAccess,
  ) => Promise<AdmissionReview>;
  /** Called before an object is removed, or marked for it. What it throws is logged, and the object goes. */
  readonly reviewDeletion?: (object: JsonObject) => AdmissionReview;
}

/** A request below `…/NAME/proxy`, already authenticated and authorized in the cluster where it came in. */
export interface ProxyRequest {
  readonly method: string;
  /** What follows `/proxy`, with the query. */
  readonly path: string;
  /** Without those that are about the connection or say who asks. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  readonly user: {
    readonly username: string;
    readonly uid?: string;
    readonly groups: readonly string[];
    readonly extra?: Readonly<Record<string, readonly string[]>>;
  };
  readonly signal: AbortSignal;
}

/** Answers the `proxy` subresource of a kind: HTTP to what its objects stand for. */
export interface ModuleProxy {
  readonly kind: Kind;
  /** In the clusters of which level. */
  readonly level: Level;
  /** Throws an `ApiError` for an object that cannot be reached. */
  readonly forward: (name: string, request: ProxyRequest) => Promise<TransportResponse>;
  /** The same for an upgrade (exec, attach, port-forward), whose handshake is among the headers. Absent: upgrades are refused. */
  readonly upgrade?: (name: string, request: Omit<ProxyRequest, "body">) => Promise<Switched>;
}

/** A capability in one value: what it adds to the API, what makes it true, what it needs. Composition is the platform's. */
export interface Module {
  /** `fleet`, `serving`, … */
  readonly name: string;
  readonly summary: string;
  /** Kinds and the levels in whose clusters their CRDs are installed. */
  readonly kinds: readonly { readonly definition: KindDefinition; readonly levels: readonly Level[] }[];
  /** What its controllers may do, by level; becomes a ClusterRole of the agent of that level. */
  readonly rules: Readonly<Partial<Record<Level, readonly PolicyRule[]>>>;
  /** The controllers to run at this level, in this cluster. */
  controllers(level: Level, cluster: ClusterAccess): readonly ControllerSpec[];
  readonly routes?: readonly HttpRoute[];
  /** Which of its objects stand for something that is reached through the API server. */
  readonly proxies?: readonly ModuleProxy[];
  /** What refuses or comments on objects as they are written. */
  readonly admission?: readonly ModuleAdmission[];
}
