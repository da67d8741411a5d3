import type { LabelSelector } from "../../../kernel/kinds/index.js";

/** A taint of a cluster. */
export interface ClusterTaint {
  readonly key: string;
  readonly value?: string;
  readonly effect: string;
}

/** As a pod's toleration; `tolerationSeconds` bounds it for NoExecute. */
export interface ClusterToleration {
  readonly key?: string;
  readonly operator?: string;
  readonly value?: string;
  readonly effect?: string;
  readonly tolerationSeconds?: number;
}

/** One grade of nodes: the least that each node of it has free, by resource, and how many there are. */
export interface NodeGrade {
  /** Milli-units by resource name. */
  readonly leastFree: ReadonlyMap<string, bigint>;
  readonly nodes: number;
}

/** What a cluster says of its free room. */
export interface ClusterCapacity {
  /** Milli-units by resource name: allocatable less allocated and allocating; never negative. */
  readonly free: ReadonlyMap<string, bigint>;
  /** By grade, smallest first; empty: not told. */
  readonly grades: readonly NodeGrade[];
  /** Milli-units by resource name: allocated and allocating; absent: not told. */
  readonly used?: ReadonlyMap<string, bigint>;
}

/** Replicas that were decided on and that a cluster's figures do not show yet. */
export interface PromisedRoom {
  readonly isEmpty: boolean;
  /** How many pods, and how many replicas with these requests they are worth; what the object `exceptUid` is promised does not count. */
  taken(requests: ReadonlyMap<string, bigint>, exceptUid: string): { readonly pods: number; readonly replicas: number };
}

/** Which groups of workloads a cluster has. */
export interface GroupResidents {
  /** Whether another object than that of this group is there. */
  has(group: string, exceptUid: string): boolean;
}

/** A member cluster as placement sees it. */
export interface ClusterFacts {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly provider: string;
  readonly region: string;
  readonly zones: readonly string[];
  readonly taints: readonly ClusterTaint[];
  /** `apiVersion/kind` of everything that it serves. */
  readonly kinds: ReadonlySet<string>;
  /** Its list of kinds is known to be whole. */
  readonly knowsAllKinds: boolean;
  readonly isLeaving: boolean;
  /** `undefined`: it told nothing. */
  readonly capacity: ClusterCapacity | undefined;
  /** What of that is given away already; absent: nothing. */
  readonly promised?: PromisedRoom;
  /** Groups of workloads that are there; absent: none. */
  readonly residents?: GroupResidents;
}

/** Which clusters are meant (`ClusterAffinity`). Every part that is given must hold; `exclude` wins. */
export interface ClusterAffinity {
  readonly labelSelector?: LabelSelector;
  readonly fieldSelector?: {
    readonly matchExpressions?: readonly {
      readonly key: string;
      readonly operator: string;
      readonly values?: readonly string[];
    }[];
  };
  readonly clusterNames?: readonly string[];
  readonly exclude?: readonly string[];
}

/** A choice among ordered affinities. */
export interface ClusterAffinityTerm extends ClusterAffinity {
  readonly affinityName: string;
}

/** How many groups of clusters, by what they are grouped. */
export interface SpreadConstraint {
  readonly spreadByField?: string;
  readonly spreadByLabel?: string;
  readonly minGroups?: number;
  readonly maxGroups?: number;
}

/** How replicas are divided (`ReplicaSchedulingStrategy`). */
export interface ReplicaScheduling {
  readonly replicaSchedulingType?: string;
  readonly replicaDivisionPreference?: string;
  readonly weightPreference?: {
    readonly staticWeightList?: readonly { readonly targetCluster: ClusterAffinity; readonly weight: number }[];
    readonly dynamicWeight?: string;
  };
}

/** `spec.placement` of a policy or binding. */
export interface Placement {
  readonly clusterAffinity?: ClusterAffinity;
  readonly clusterAffinities?: readonly ClusterAffinityTerm[];
  readonly clusterTolerations?: readonly ClusterToleration[];
  readonly spreadConstraints?: readonly SpreadConstraint[];
  readonly replicaScheduling?: ReplicaScheduling;
  /** Workloads of the same value of a label are placed together, or apart. */
  readonly workloadAffinity?: {
    readonly affinity?: { readonly groupByLabelKey: string };
    readonly antiAffinity?: { readonly groupByLabelKey: string };
  };
}

/** Replicas in one cluster; `undefined` for objects without replicas. */
export interface Target {
  readonly name: string;
  readonly replicas: number | undefined;
}

/** A workload of several components, which is of use only as a whole. */
export interface WorkloadSet {
  /** How many pods it has. */
  readonly pods: number;
  /** Milli-units that all of it asks for, by resource. */
  readonly requests: ReadonlyMap<string, bigint>;
  readonly parts: readonly { readonly replicas: number; readonly requests: ReadonlyMap<string, bigint> }[];
}

/** What is to be placed. */
export interface Demand {
  readonly apiVersion: string;
  readonly kind: string;
  /** Of the template; breaks ties between equal weights. */
  readonly uid: string;
  /** `undefined`: the kind has none. */
  readonly replicas: number | undefined;
  /** Milli-units that a replica asks for, by resource. */
  readonly requests: ReadonlyMap<string, bigint>;
  /** It has several components, and no number of replicas. */
  readonly set?: WorkloadSet;
  /** Where it is now. */
  readonly assigned: readonly Target[];
  /** Clusters that it is being evicted from. */
  readonly evicting: ReadonlySet<string>;
  /** Clusters that failed with it, and get it again only where nothing else would. */
  readonly distrusted?: ReadonlySet<string>;
  /** Goes only where others of this group are, if there are any. */
  readonly together?: string;
  /** Goes nowhere where others of this group are. */
  readonly apart?: string;
  /** Everything is computed anew, as if nothing were placed. */
  readonly isFresh: boolean;
}

/** How a decision came about, for the ledger and for people. */
export interface PlacementTrace {
  /** Name of the affinity that was chosen among ordered ones. */
  readonly affinity: string | undefined;
  readonly rejected: readonly { readonly cluster: string; readonly plugin: string; readonly reason: string }[];
  /** Clusters that passed, with score, how many replicas they have room for, and how many of those are promised to others. */
  readonly feasible: readonly {
    readonly cluster: string;
    readonly score: number;
    readonly room: number;
    readonly promised: number;
  }[];
  readonly rule: string;
}

/** A decision, or why there is none. */
export type PlacementResult =
  | { readonly isPlaced: true; readonly targets: readonly Target[]; readonly trace: PlacementTrace }
  | {
      readonly isPlaced: false;
      /** Reason of the condition `Scheduled`. */
      readonly reason: "NoClusterFit" | "SchedulerError";
      readonly message: string;
      readonly trace: PlacementTrace;
    };
