import type * as admissionregistration from "kubernetes-types/admissionregistration/v1.js";
import type * as apiextensions from "kubernetes-types/apiextensions/v1.js";
import type * as apps from "kubernetes-types/apps/v1.js";
import type * as authentication from "kubernetes-types/authentication/v1.js";
import type * as authorization from "kubernetes-types/authorization/v1.js";
import type * as autoscaling from "kubernetes-types/autoscaling/v2.js";
import type * as batch from "kubernetes-types/batch/v1.js";
import type * as certificates from "kubernetes-types/certificates/v1.js";
import type * as coordination from "kubernetes-types/coordination/v1.js";
import type * as core from "kubernetes-types/core/v1.js";
import type * as discovery from "kubernetes-types/discovery/v1.js";
import type * as networking from "kubernetes-types/networking/v1.js";
import type * as policy from "kubernetes-types/policy/v1.js";
import type * as rbac from "kubernetes-types/rbac/v1.js";
import type * as scheduling from "kubernetes-types/scheduling/v1.js";
import type * as storage from "kubernetes-types/storage/v1.js";
import type { Kind, KubeObject, Resource } from "./object.js";

/** A kind without spec and status: its fields lie at the top of the object. */
type Flat<T> = KubeObject & Omit<T, "apiVersion" | "kind" | "metadata">;

/** What tells kinds apart on the wire; all are namespaced unless said otherwise. */
function native<T extends KubeObject>(apiVersion: string, kind: string, plural: string, namespaced = true): Kind<T> {
  const slash = apiVersion.indexOf("/");
  return {
    group: slash < 0 ? "" : apiVersion.slice(0, slash),
    version: apiVersion.slice(slash + 1),
    kind,
    plural,
    namespaced,
  };
}

/** A group of containers on one node. */
export type Pod = Resource<core.PodSpec, core.PodStatus>;
/** Coordinates of Pod. */
export const PodKind: Kind<Pod> = native("v1", "Pod", "pods");

/** A machine that runs pods. */
export type Node = Resource<core.NodeSpec, core.NodeStatus>;
/** Coordinates of Node. */
export const NodeKind: Kind<Node> = native("v1", "Node", "nodes", false);

/** A scope for names. */
export type Namespace = Resource<core.NamespaceSpec, core.NamespaceStatus>;
/** Coordinates of Namespace. */
export const NamespaceKind: Kind<Namespace> = native("v1", "Namespace", "namespaces", false);

/** A stable name and address in front of pods. */
export type Service = Resource<core.ServiceSpec, core.ServiceStatus>;
/** Coordinates of Service. */
export const ServiceKind: Kind<Service> = native("v1", "Service", "services");

/** Configuration data that is no secret. */
export type ConfigMap = Flat<core.ConfigMap>;
/** Coordinates of ConfigMap. */
export const ConfigMapKind: Kind<ConfigMap> = native("v1", "ConfigMap", "configmaps");

/** Data that must not be shown; values are base64. */
export type Secret = Flat<core.Secret>;
/** Coordinates of Secret. */
export const SecretKind: Kind<Secret> = native("v1", "Secret", "secrets");

/** An identity for programs. */
export type ServiceAccount = Flat<core.ServiceAccount>;
/** Coordinates of ServiceAccount. */
export const ServiceAccountKind: Kind<ServiceAccount> = native("v1", "ServiceAccount", "serviceaccounts");

/** Something that happened to an object (core/v1). */
export type Event = Flat<core.Event>;
/** Coordinates of Event. */
export const EventKind: Kind<Event> = native("v1", "Event", "events");

/** Addresses behind a Service (the old form). */
export type Endpoints = Flat<core.Endpoints>;
/** Coordinates of Endpoints. */
export const EndpointsKind: Kind<Endpoints> = native("v1", "Endpoints", "endpoints");

/** A wish for storage. */
export type PersistentVolumeClaim = Resource<core.PersistentVolumeClaimSpec, core.PersistentVolumeClaimStatus>;
/** Coordinates of PersistentVolumeClaim. */
export const PersistentVolumeClaimKind: Kind<PersistentVolumeClaim> = native(
  "v1",
  "PersistentVolumeClaim",
  "persistentvolumeclaims",
);

/** A piece of storage. */
export type PersistentVolume = Resource<core.PersistentVolumeSpec, core.PersistentVolumeStatus>;
/** Coordinates of PersistentVolume. */
export const PersistentVolumeKind: Kind<PersistentVolume> = native(
  "v1",
  "PersistentVolume",
  "persistentvolumes",
  false,
);

/** Bounds and defaults for resources in a namespace. */
export type LimitRange = Resource<core.LimitRangeSpec>;
/** Coordinates of LimitRange. */
export const LimitRangeKind: Kind<LimitRange> = native("v1", "LimitRange", "limitranges");

/** An upper bound for what a namespace uses. */
export type ResourceQuota = Resource<core.ResourceQuotaSpec, core.ResourceQuotaStatus>;
/** Coordinates of ResourceQuota. */
export const ResourceQuotaKind: Kind<ResourceQuota> = native("v1", "ResourceQuota", "resourcequotas");

/** The predecessor of ReplicaSet. */
export type ReplicationController = Resource<core.ReplicationControllerSpec, core.ReplicationControllerStatus>;
/** Coordinates of ReplicationController. */
export const ReplicationControllerKind: Kind<ReplicationController> = native(
  "v1",
  "ReplicationController",
  "replicationcontrollers",
);

/** Pods of one template with rolling updates. */
export type Deployment = Resource<apps.DeploymentSpec, apps.DeploymentStatus>;
/** Coordinates of Deployment. */
export const DeploymentKind: Kind<Deployment> = native("apps/v1", "Deployment", "deployments");

/** A number of equal pods. */
export type ReplicaSet = Resource<apps.ReplicaSetSpec, apps.ReplicaSetStatus>;
/** Coordinates of ReplicaSet. */
export const ReplicaSetKind: Kind<ReplicaSet> = native("apps/v1", "ReplicaSet", "replicasets");

/** Pods with names and storage that stay. */
export type StatefulSet = Resource<apps.StatefulSetSpec, apps.StatefulSetStatus>;
/** Coordinates of StatefulSet. */
export const StatefulSetKind: Kind<StatefulSet> = native("apps/v1", "StatefulSet", "statefulsets");

/** One pod on each node. */
export type DaemonSet = Resource<apps.DaemonSetSpec, apps.DaemonSetStatus>;
/** Coordinates of DaemonSet. */
export const DaemonSetKind: Kind<DaemonSet> = native("apps/v1", "DaemonSet", "daemonsets");

/** A recorded template of a StatefulSet or DaemonSet. */
export type ControllerRevision = Flat<apps.ControllerRevision>;
/** Coordinates of ControllerRevision. */
export const ControllerRevisionKind: Kind<ControllerRevision> = native(
  "apps/v1",
  "ControllerRevision",
  "controllerrevisions",
);

/** Pods that run to completion. */
export type Job = Resource<batch.JobSpec, batch.JobStatus>;
/** Coordinates of Job. */
export const JobKind: Kind<Job> = native("batch/v1", "Job", "jobs");

/** Jobs by the calendar. */
export type CronJob = Resource<batch.CronJobSpec, batch.CronJobStatus>;
/** Coordinates of CronJob. */
export const CronJobKind: Kind<CronJob> = native("batch/v1", "CronJob", "cronjobs");

/** Who holds something, and until when. */
export type Lease = Resource<coordination.LeaseSpec>;
/** Coordinates of Lease. */
export const LeaseKind: Kind<Lease> = native("coordination.k8s.io/v1", "Lease", "leases");

/** Addresses behind a Service. */
export type EndpointSlice = Flat<discovery.EndpointSlice>;
/** Coordinates of EndpointSlice. */
export const EndpointSliceKind: Kind<EndpointSlice> = native("discovery.k8s.io/v1", "EndpointSlice", "endpointslices");

/** HTTP rules from outside to Services. */
export type Ingress = Resource<networking.IngressSpec, networking.IngressStatus>;
/** Coordinates of Ingress. */
export const IngressKind: Kind<Ingress> = native("networking.k8s.io/v1", "Ingress", "ingresses");

/** Which controller carries Ingresses out. */
export type IngressClass = Resource<networking.IngressClassSpec>;
/** Coordinates of IngressClass. */
export const IngressClassKind: Kind<IngressClass> = native(
  "networking.k8s.io/v1",
  "IngressClass",
  "ingressclasses",
  false,
);

/** Which pods may talk to which. */
export type NetworkPolicy = Resource<networking.NetworkPolicySpec>;
/** Coordinates of NetworkPolicy. */
export const NetworkPolicyKind: Kind<NetworkPolicy> = native(
  "networking.k8s.io/v1",
  "NetworkPolicy",
  "networkpolicies",
);

/** Permissions in a namespace. */
export type Role = Flat<rbac.Role>;
/** Coordinates of Role. */
export const RoleKind: Kind<Role> = native("rbac.authorization.k8s.io/v1", "Role", "roles");

/** Gives a role to subjects in a namespace. */
export type RoleBinding = Flat<rbac.RoleBinding>;
/** Coordinates of RoleBinding. */
export const RoleBindingKind: Kind<RoleBinding> = native("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings");

/** Permissions in a cluster. */
export type ClusterRole = Flat<rbac.ClusterRole>;
/** Coordinates of ClusterRole. */
export const ClusterRoleKind: Kind<ClusterRole> = native(
  "rbac.authorization.k8s.io/v1",
  "ClusterRole",
  "clusterroles",
  false,
);

/** Gives a cluster role to subjects everywhere. */
export type ClusterRoleBinding = Flat<rbac.ClusterRoleBinding>;
/** Coordinates of ClusterRoleBinding. */
export const ClusterRoleBindingKind: Kind<ClusterRoleBinding> = native(
  "rbac.authorization.k8s.io/v1",
  "ClusterRoleBinding",
  "clusterrolebindings",
  false,
);

/** A kind that the API server learns. */
export type CustomResourceDefinition = Resource<
  apiextensions.CustomResourceDefinitionSpec,
  apiextensions.CustomResourceDefinitionStatus
>;
/** Coordinates of CustomResourceDefinition. */
export const CustomResourceDefinitionKind: Kind<CustomResourceDefinition> = native(
  "apiextensions.k8s.io/v1",
  "CustomResourceDefinition",
  "customresourcedefinitions",
  false,
);

/** How many pods may be away at once. */
export type PodDisruptionBudget = Resource<policy.PodDisruptionBudgetSpec, policy.PodDisruptionBudgetStatus>;
/** Coordinates of PodDisruptionBudget. */
export const PodDisruptionBudgetKind: Kind<PodDisruptionBudget> = native(
  "policy/v1",
  "PodDisruptionBudget",
  "poddisruptionbudgets",
);

/** Scales by metrics. */
export type HorizontalPodAutoscaler = Resource<
  autoscaling.HorizontalPodAutoscalerSpec,
  autoscaling.HorizontalPodAutoscalerStatus
>;
/** Coordinates of HorizontalPodAutoscaler. */
export const HorizontalPodAutoscalerKind: Kind<HorizontalPodAutoscaler> = native(
  "autoscaling/v2",
  "HorizontalPodAutoscaler",
  "horizontalpodautoscalers",
);

/** A named pod priority. */
export type PriorityClass = Flat<scheduling.PriorityClass>;
/** Coordinates of PriorityClass. */
export const PriorityClassKind: Kind<PriorityClass> = native(
  "scheduling.k8s.io/v1",
  "PriorityClass",
  "priorityclasses",
  false,
);

/** A way of making volumes. */
export type StorageClass = Flat<storage.StorageClass>;
/** Coordinates of StorageClass. */
export const StorageClassKind: Kind<StorageClass> = native(
  "storage.k8s.io/v1",
  "StorageClass",
  "storageclasses",
  false,
);

/** Asks who a token is. */
export type TokenReview = Resource<authentication.TokenReviewSpec, authentication.TokenReviewStatus>;
/** Coordinates of TokenReview. */
export const TokenReviewKind: Kind<TokenReview> = native(
  "authentication.k8s.io/v1",
  "TokenReview",
  "tokenreviews",
  false,
);

/** Asks what a user may do. */
export type SubjectAccessReview = Resource<
  authorization.SubjectAccessReviewSpec,
  authorization.SubjectAccessReviewStatus
>;
/** Coordinates of SubjectAccessReview. */
export const SubjectAccessReviewKind: Kind<SubjectAccessReview> = native(
  "authorization.k8s.io/v1",
  "SubjectAccessReview",
  "subjectaccessreviews",
  false,
);

/** Asks what the caller may do. */
export type SelfSubjectAccessReview = Resource<
  authorization.SelfSubjectAccessReviewSpec,
  authorization.SubjectAccessReviewStatus
>;
/** Coordinates of SelfSubjectAccessReview. */
export const SelfSubjectAccessReviewKind: Kind<SelfSubjectAccessReview> = native(
  "authorization.k8s.io/v1",
  "SelfSubjectAccessReview",
  "selfsubjectaccessreviews",
  false,
);

/** Asks for a certificate. */
export type CertificateSigningRequest = Resource<
  certificates.CertificateSigningRequestSpec,
  certificates.CertificateSigningRequestStatus
>;
/** Coordinates of CertificateSigningRequest. */
export const CertificateSigningRequestKind: Kind<CertificateSigningRequest> = native(
  "certificates.k8s.io/v1",
  "CertificateSigningRequest",
  "certificatesigningrequests",
  false,
);

/** Webhooks that change objects on their way in. */
export type MutatingWebhookConfiguration = Flat<admissionregistration.MutatingWebhookConfiguration>;
/** Coordinates of MutatingWebhookConfiguration. */
export const MutatingWebhookConfigurationKind: Kind<MutatingWebhookConfiguration> = native(
  "admissionregistration.k8s.io/v1",
  "MutatingWebhookConfiguration",
  "mutatingwebhookconfigurations",
  false,
);

/** Webhooks that check objects on their way in. */
export type ValidatingWebhookConfiguration = Flat<admissionregistration.ValidatingWebhookConfiguration>;
/** Coordinates of ValidatingWebhookConfiguration. */
export const ValidatingWebhookConfigurationKind: Kind<ValidatingWebhookConfiguration> = native(
  "admissionregistration.k8s.io/v1",
  "ValidatingWebhookConfiguration",
  "validatingwebhookconfigurations",
  false,
);

/** Every kind above. */
export const nativeKinds: readonly Kind[] = [
  PodKind,
  NodeKind,
  NamespaceKind,
  ServiceKind,
  ConfigMapKind,
  SecretKind,
  ServiceAccountKind,
  EventKind,
  EndpointsKind,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  LimitRangeKind,
  ResourceQuotaKind,
  ReplicationControllerKind,
  DeploymentKind,
  ReplicaSetKind,
  StatefulSetKind,
  DaemonSetKind,
  ControllerRevisionKind,
  JobKind,
  CronJobKind,
  LeaseKind,
  EndpointSliceKind,
  IngressKind,
  IngressClassKind,
  NetworkPolicyKind,
  RoleKind,
  RoleBindingKind,
  ClusterRoleKind,
  ClusterRoleBindingKind,
  CustomResourceDefinitionKind,
  PodDisruptionBudgetKind,
  HorizontalPodAutoscalerKind,
  PriorityClassKind,
  StorageClassKind,
  TokenReviewKind,
  SubjectAccessReviewKind,
  SelfSubjectAccessReviewKind,
  CertificateSigningRequestKind,
  MutatingWebhookConfigurationKind,
  ValidatingWebhookConfigurationKind,
];

export type {
  DaemonSetStatus,
  DeploymentStatus,
  ReplicaSetStatus,
  StatefulSetStatus,
} from "kubernetes-types/apps/v1.js";
export type { JobStatus } from "kubernetes-types/batch/v1.js";
export type {
  Container,
  ContainerState,
  ContainerStatus,
  EnvVar,
  LifecycleHandler,
  NodeCondition,
  NodeSelectorTerm,
  NodeStatus,
  PodCondition,
  PodSpec,
  PodStatus,
  PodTemplateSpec,
  Probe,
  ServicePort,
  Taint,
  Toleration,
  Volume,
} from "kubernetes-types/core/v1.js";
export type { LabelSelector } from "kubernetes-types/meta/v1.js";
