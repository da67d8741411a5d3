import type { JsonObject } from "../../../src/kernel/kinds/object.js";
import { deepSamples } from "./deep-samples.js";

/** A valid object of a kind to begin with, and where it lives. */
export interface Sample {
  readonly apiVersion: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
  /** Subresources that take bodies of the kind. */
  readonly subresources: readonly string[];
  /** Everything but apiVersion, kind and metadata. */
  readonly body: JsonObject;
  /** Names are not free (a definition's, a binding's): `NAME` is replaced by the made-up one. */
  readonly name?: string;
  /** Of a definition's kind that is made for one scenario. */
  readonly schema?: JsonObject;
}

const labels = { app: "a" };
const selector = { matchLabels: labels };
const container = {
  name: "main",
  image: "registry.example/app:1.2",
  command: ["run"],
  args: ["--x"],
  env: [
    { name: "A", value: "1" },
    { name: "B", valueFrom: { configMapKeyRef: { name: "c", key: "k" } } },
  ],
  ports: [{ name: "http", containerPort: 8080 }],
  resources: { requests: { cpu: "100m", memory: "64Mi" }, limits: { cpu: "1", memory: "128Mi" } },
  readinessProbe: { httpGet: { path: "/ready", port: "http" }, periodSeconds: 5 },
  livenessProbe: { exec: { command: ["true"] } },
  volumeMounts: [{ name: "data", mountPath: "/data" }],
};
const podSpec: JsonObject = {
  schedulerName: "none",
  containers: [container],
  volumes: [
    { name: "data", emptyDir: {} },
    { name: "conf", configMap: { name: "c", items: [{ key: "k", path: "p" }] } },
  ],
  tolerations: [{ key: "a", operator: "Exists", effect: "NoExecute", tolerationSeconds: 10 }],
};
const template = { metadata: { labels }, spec: podSpec };
const rules = [{ apiGroups: [""], resources: ["pods"], verbs: ["get", "list"] }];
const subjects = [{ kind: "ServiceAccount", name: "default", namespace: "default" }];
const webhook = {
  name: "check.example.com",
  clientConfig: { url: "https://127.0.0.1:1/never" },
  rules: [{ apiGroups: ["none.example.com"], apiVersions: ["*"], operations: ["CREATE"], resources: ["*"] }],
  sideEffects: "None",
  admissionReviewVersions: ["v1"],
};

const make = (
  apiVersion: string,
  kind: string,
  plural: string,
  body: JsonObject,
  rest: Partial<Pick<Sample, "namespaced" | "subresources" | "name">> = {},
): Sample => ({ apiVersion, kind, plural, namespaced: true, subresources: [], body, ...rest });
const whole = { namespaced: false };
const status = { subresources: ["status"] };
const workload = { subresources: ["status", "scale"] };

const core: readonly Sample[] = [
  make("v1", "Pod", "pods", { spec: podSpec }, { subresources: ["status", "ephemeralcontainers", "resize"] }),
  make("v1", "Pod", "pods", { spec: { schedulerName: "none", containers: [{ name: "c", image: "i" }] } }, status),
  make("v1", "ConfigMap", "configmaps", { data: { a: "1", b: "2" }, binaryData: { c: "AAEC" } }),
  make("v1", "Secret", "secrets", { data: { a: "YQ==" }, stringData: { b: "text" }, type: "Opaque" }),
  make(
    "v1",
    "Service",
    "services",
    { spec: { selector: labels, ports: [{ name: "http", port: 80, targetPort: "http" }] } },
    status,
  ),
  make("v1", "ServiceAccount", "serviceaccounts", { secrets: [{ name: "s" }], imagePullSecrets: [{ name: "p" }] }),
  make(
    "v1",
    "ReplicationController",
    "replicationcontrollers",
    { spec: { replicas: 0, selector: labels, template } },
    workload,
  ),
  make("v1", "PodTemplate", "podtemplates", { template }),
  make("v1", "LimitRange", "limitranges", {
    spec: {
      limits: [
        {
          type: "Container",
          max: { cpu: "2000" },
          min: { cpu: "1m" },
          default: { cpu: "100" },
          defaultRequest: { cpu: "50m" },
        },
      ],
    },
  }),
  make(
    "v1",
    "ResourceQuota",
    "resourcequotas",
    { spec: { hard: { "count/jobs.batch": "1000", pods: "1000" }, scopes: ["NotTerminating"] } },
    status,
  ),
  make(
    "v1",
    "ResourceQuota",
    "resourcequotas",
    { spec: { hard: { "requests.cpu": "1000", configmaps: "5000" } } },
    status,
  ),
  make("v1", "Endpoints", "endpoints", {
    subsets: [{ addresses: [{ ip: "10.1.2.3" }], ports: [{ name: "http", port: 80, protocol: "TCP" }] }],
  }),
  make("v1", "Event", "events", {
    involvedObject: { kind: "Pod", name: "p", namespace: "NAMESPACE", apiVersion: "v1" },
    reason: "Made",
    message: "made",
    type: "Normal",
    source: { component: "fuzz" },
  }),
  make(
    "v1",
    "PersistentVolumeClaim",
    "persistentvolumeclaims",
    { spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } }, storageClassName: "none" } },
    status,
  ),
  make(
    "v1",
    "PersistentVolume",
    "persistentvolumes",
    {
      spec: {
        capacity: { storage: "1Gi" },
        accessModes: ["ReadWriteOnce"],
        hostPath: { path: "/tmp/x" },
        storageClassName: "none",
      },
    },
    { ...whole, ...status },
  ),
  make("v1", "Namespace", "namespaces", {}, { ...whole, ...status }),
  make(
    "v1",
    "Node",
    "nodes",
    {
      spec: { podCIDR: "10.200.0.0/24", taints: [{ key: "k", value: "v", effect: "NoSchedule" }] },
      status: { capacity: { cpu: "4", memory: "8Gi", pods: "110" } },
    },
    { ...whole, ...status },
  ),
];

const workloads: readonly Sample[] = [
  make("apps/v1", "Deployment", "deployments", { spec: { replicas: 0, selector, template } }, workload),
  make("apps/v1", "ReplicaSet", "replicasets", { spec: { replicas: 0, selector, template } }, workload),
  make("apps/v1", "DaemonSet", "daemonsets", { spec: { selector, template } }, status),
  make(
    "apps/v1",
    "StatefulSet",
    "statefulsets",
    {
      spec: {
        replicas: 0,
        serviceName: "svc",
        selector,
        template: {
          metadata: { labels },
          spec: { containers: [{ name: "c", image: "i", volumeMounts: [{ name: "d", mountPath: "/d" }] }] },
        },
        volumeClaimTemplates: [
          {
            metadata: { name: "d" },
            spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
          },
        ],
      },
    },
    workload,
  ),
  make("apps/v1", "ControllerRevision", "controllerrevisions", { data: { x: 1 }, revision: 1 }),
  make(
    "batch/v1",
    "Job",
    "jobs",
    {
      spec: {
        parallelism: 0,
        suspend: true,
        template: { spec: { restartPolicy: "Never", containers: [{ name: "c", image: "i" }] } },
      },
    },
    status,
  ),
  make(
    "batch/v1",
    "CronJob",
    "cronjobs",
    {
      spec: {
        schedule: "*/5 * * * *",
        suspend: true,
        timeZone: "Etc/UTC",
        jobTemplate: {
          spec: { template: { spec: { restartPolicy: "OnFailure", containers: [{ name: "c", image: "i" }] } } },
        },
      },
    },
    status,
  ),
  make(
    "autoscaling/v2",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
    {
      spec: {
        scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "d" },
        minReplicas: 1,
        maxReplicas: 3,
        metrics: [
          { type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 50 } } },
        ],
        behavior: {
          scaleDown: { stabilizationWindowSeconds: 10, policies: [{ type: "Pods", value: 1, periodSeconds: 10 }] },
        },
      },
    },
    status,
  ),
  make(
    "autoscaling/v1",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
    {
      spec: {
        scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "d" },
        maxReplicas: 3,
        targetCPUUtilizationPercentage: 70,
      },
    },
    status,
  ),
  make("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", { spec: { minAvailable: 1, selector } }, status),
];

const others: readonly Sample[] = [
  make(
    "networking.k8s.io/v1",
    "Ingress",
    "ingresses",
    {
      spec: {
        ingressClassName: "none",
        tls: [{ hosts: ["a.example.com"], secretName: "t" }],
        rules: [
          {
            host: "a.example.com",
            http: {
              paths: [{ path: "/", pathType: "Prefix", backend: { service: { name: "s", port: { number: 80 } } } }],
            },
          },
        ],
      },
    },
    status,
  ),
  make("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", {
    spec: {
      podSelector: selector,
      policyTypes: ["Ingress", "Egress"],
      ingress: [
        {
          from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] } }],
          ports: [{ protocol: "TCP", port: 80 }],
        },
      ],
      egress: [{ to: [{ podSelector: selector, namespaceSelector: {} }] }],
    },
  }),
  make(
    "networking.k8s.io/v1",
    "IngressClass",
    "ingressclasses",
    { spec: { controller: "example.com/c", parameters: { kind: "K", name: "n", scope: "Cluster" } } },
    whole,
  ),
  make("coordination.k8s.io/v1", "Lease", "leases", {
    spec: { holderIdentity: "me", leaseDurationSeconds: 10, renewTime: "2020-01-01T00:00:00.000000Z" },
  }),
  make("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", {
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.1.2.3"], conditions: { ready: true } }],
    ports: [{ name: "http", port: 80 }],
  }),
  make("events.k8s.io/v1", "Event", "events", {
    eventTime: "2020-01-01T00:00:00.000000Z",
    reportingController: "example.com/c",
    reportingInstance: "c-1",
    action: "Do",
    reason: "Done",
    regarding: { kind: "Pod", name: "p", namespace: "NAMESPACE", apiVersion: "v1" },
    type: "Normal",
  }),
  make("rbac.authorization.k8s.io/v1", "Role", "roles", { rules }),
  make("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", { rules }, whole),
  make("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", {
    subjects,
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "view" },
  }),
  make(
    "rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding",
    "clusterrolebindings",
    { subjects, roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "view" } },
    whole,
  ),
  make(
    "storage.k8s.io/v1",
    "StorageClass",
    "storageclasses",
    { provisioner: "example.com/p", reclaimPolicy: "Delete", volumeBindingMode: "Immediate", parameters: { a: "b" } },
    whole,
  ),
  make(
    "storage.k8s.io/v1",
    "CSIDriver",
    "csidrivers",
    { spec: { attachRequired: true, podInfoOnMount: true, volumeLifecycleModes: ["Persistent"] } },
    whole,
  ),
  make(
    "storage.k8s.io/v1",
    "CSINode",
    "csinodes",
    { spec: { drivers: [{ name: "d.example.com", nodeID: "n", topologyKeys: ["a"] }] } },
    whole,
  ),
  make(
    "storage.k8s.io/v1",
    "VolumeAttachment",
    "volumeattachments",
    { spec: { attacher: "a.example.com", nodeName: "n", source: { persistentVolumeName: "pv" } } },
    { ...whole, ...status },
  ),
  make("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", { value: 10, description: "d" }, whole),
  make(
    "node.k8s.io/v1",
    "RuntimeClass",
    "runtimeclasses",
    { handler: "h", overhead: { podFixed: { cpu: "1" } }, scheduling: { nodeSelector: { a: "b" } } },
    whole,
  ),
  make(
    "admissionregistration.k8s.io/v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    { webhooks: [webhook] },
    whole,
  ),
  make(
    "admissionregistration.k8s.io/v1",
    "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations",
    { webhooks: [{ ...webhook, reinvocationPolicy: "IfNeeded" }] },
    whole,
  ),
  make(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicy",
    "validatingadmissionpolicies",
    {
      spec: {
        matchConstraints: {
          resourceRules: [
            { apiGroups: ["none.example.com"], apiVersions: ["v1"], operations: ["CREATE"], resources: ["things"] },
          ],
        },
        validations: [{ expression: "object.metadata.name != 'x'", message: "no" }],
        variables: [{ name: "v", expression: "1" }],
      },
    },
    { ...whole, ...status },
  ),
  make(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding",
    "validatingadmissionpolicybindings",
    { spec: { policyName: "p", validationActions: ["Deny"] } },
    whole,
  ),
];

/** The definition that every run installs under this name; instances of it are sent too. */
export const widgetDefinition: JsonObject = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "widgets.fuzz.example.com" },
  spec: {
    group: "fuzz.example.com",
    scope: "Namespaced",
    names: { plural: "widgets", singular: "widget", kind: "Widget", shortNames: ["wd"], categories: ["all"] },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        subresources: {
          status: {},
          scale: {
            specReplicasPath: ".spec.replicas",
            statusReplicasPath: ".status.replicas",
            labelSelectorPath: ".status.selector",
          },
        },
        additionalPrinterColumns: [
          { name: "Size", type: "integer", jsonPath: ".spec.size" },
          { name: "Names", type: "string", jsonPath: ".spec.items[*].name", priority: 1 },
          { name: "When", type: "date", jsonPath: ".spec.when" },
        ],
        selectableFields: [{ jsonPath: ".spec.color" }],
        schema: {
          openAPIV3Schema: {
            type: "object",
            required: ["spec"],
            properties: {
              spec: {
                type: "object",
                required: ["size"],
                "x-kubernetes-validations": [
                  { rule: "!has(self.max) || self.size <= self.max", message: "size must not exceed max" },
                  { rule: "self.size >= oldSelf.size", messageExpression: "'size may not shrink'" },
                ],
                properties: {
                  size: { type: "integer", minimum: 0, maximum: 100, multipleOf: 2 },
                  max: { type: "integer", format: "int32" },
                  ratio: { type: "number", minimum: 0, exclusiveMinimum: true },
                  color: { type: "string", enum: ["red", "green", "blue"], default: "red" },
                  code: { type: "string", pattern: "^[a-z]{2,4}$", maxLength: 4, minLength: 2 },
                  when: { type: "string", format: "date-time" },
                  address: { type: "string", format: "ipv4" },
                  raw: { type: "string", format: "byte" },
                  replicas: { type: "integer" },
                  flag: { type: "boolean", default: false },
                  maybe: { type: "string", nullable: true },
                  port: { "x-kubernetes-int-or-string": true },
                  free: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
                  labels: { type: "object", additionalProperties: { type: "string", maxLength: 5 }, maxProperties: 3 },
                  items: {
                    type: "array",
                    maxItems: 4,
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    items: {
                      type: "object",
                      required: ["name"],
                      properties: { name: { type: "string" }, value: { type: "integer", default: 1 } },
                    },
                  },
                  set: { type: "array", "x-kubernetes-list-type": "set", items: { type: "string" } },
                  list: { type: "array", uniqueItems: false, minItems: 1, items: { type: "integer" } },
                  atom: {
                    type: "object",
                    "x-kubernetes-map-type": "atomic",
                    properties: { a: { type: "string" }, b: { type: "string" } },
                  },
                  fixed: {
                    type: "string",
                    "x-kubernetes-validations": [{ rule: "self == oldSelf", message: "fixed is immutable" }],
                  },
                  one: {
                    type: "object",
                    properties: { a: { type: "string" }, b: { type: "string" } },
                    oneOf: [{ required: ["a"] }, { required: ["b"] }],
                  },
                  pod: {
                    type: "object",
                    "x-kubernetes-embedded-resource": true,
                    "x-kubernetes-preserve-unknown-fields": true,
                  },
                },
              },
              status: {
                type: "object",
                properties: { replicas: { type: "integer" }, selector: { type: "string" }, phase: { type: "string" } },
              },
            },
          },
        },
      },
    ],
  },
};

const widget = make(
  "fuzz.example.com/v1",
  "Widget",
  "widgets",
  {
    spec: {
      size: 4,
      max: 10,
      code: "abc",
      items: [{ name: "a", value: 2 }, { name: "b" }],
      set: ["x", "y"],
      atom: { a: "1" },
      labels: { k: "v" },
      fixed: "f",
      port: "http",
    },
  },
  workload,
);

const definition = make(
  "apiextensions.k8s.io/v1",
  "CustomResourceDefinition",
  "customresourcedefinitions",
  {
    spec: {
      group: "NAME.example.com",
      scope: "Namespaced",
      names: { plural: "things", singular: "thing", kind: "Thing", listKind: "ThingList", shortNames: ["tg"] },
      versions: [
        {
          name: "v1",
          served: true,
          storage: true,
          subresources: { status: {} },
          schema: {
            openAPIV3Schema: {
              type: "object",
              properties: {
                spec: {
                  type: "object",
                  properties: {
                    a: { type: "string", default: "x" },
                    n: { type: "integer", minimum: 1 },
                    l: { type: "array", items: { type: "object", properties: { k: { type: "string" } } } },
                  },
                  "x-kubernetes-validations": [{ rule: "has(self.a)", message: "needs a" }],
                },
                status: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
              },
            },
          },
          additionalPrinterColumns: [{ name: "A", type: "string", jsonPath: ".spec.a" }],
        },
      ],
    },
  },
  { ...whole, name: "things.NAME.example.com" },
);

/** Every kind that is fuzzed. */
export const samples: readonly Sample[] = [
  ...core,
  ...workloads,
  ...others,
  widget,
  widget,
  definition,
  ...deepSamples,
];
