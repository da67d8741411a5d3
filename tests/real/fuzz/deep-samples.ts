import type { JsonObject } from "../../../src/kernel/kinds/object.js";
import type { Sample } from "./samples.js";

/*
 * Valid objects that use much of what their kinds have: what mutations find depends on what is there to be changed.
 */

const labels = { app: "a" };
const selector = { matchLabels: labels, matchExpressions: [{ key: "app", operator: "In", values: ["a", "b"] }] };
const nodeTerm = { matchExpressions: [{ key: "zone", operator: "In", values: ["z1"] }] };
const claimSpec = { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } };

const container = {
  name: "main",
  image: "registry.example/app@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
  workingDir: "/w",
  envFrom: [{ prefix: "P_", configMapRef: { name: "c", optional: true } }, { secretRef: { name: "s" } }],
  env: [
    { name: "F", valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
    { name: "R", valueFrom: { resourceFieldRef: { resource: "limits.cpu", divisor: "1m" } } },
    { name: "S", valueFrom: { secretKeyRef: { name: "s", key: "k" } } },
  ],
  ports: [
    { name: "http", containerPort: 8080, protocol: "TCP" },
    { name: "dns", containerPort: 53, protocol: "UDP", hostPort: 5353 },
  ],
  resources: {
    requests: { cpu: "1", memory: "64Mi", "ephemeral-storage": "1Gi", "example.com/gpu": "1" },
    limits: { cpu: "2", memory: "64Mi", "example.com/gpu": "1", "hugepages-2Mi": "4Mi" },
  },
  resizePolicy: [{ resourceName: "cpu", restartPolicy: "NotRequired" }],
  startupProbe: { grpc: { port: 8080 }, failureThreshold: 3 },
  livenessProbe: { tcpSocket: { port: 8080 }, terminationGracePeriodSeconds: 5 },
  lifecycle: { postStart: { exec: { command: ["a"] } }, preStop: { sleep: { seconds: 5 } } },
  securityContext: {
    capabilities: { add: ["NET_ADMIN"], drop: ["ALL"] },
    runAsUser: 1000,
    runAsNonRoot: true,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    procMount: "Default",
    seccompProfile: { type: "Localhost", localhostProfile: "p.json" },
  },
  volumeMounts: [
    { name: "all", mountPath: "/all", readOnly: true, recursiveReadOnly: "IfPossible" },
    { name: "host", mountPath: "/host", subPath: "a/b", mountPropagation: "HostToContainer" },
    { name: "own", mountPath: "/own", subPathExpr: "$(F)/x" },
  ],
  volumeDevices: [{ name: "disk", devicePath: "/dev/x" }],
};

const volumes = [
  {
    name: "all",
    projected: {
      defaultMode: 420,
      sources: [
        { serviceAccountToken: { path: "token", audience: "a", expirationSeconds: 3600 } },
        { configMap: { name: "c", items: [{ key: "k", path: "c/p", mode: 256 }] } },
        { secret: { name: "s", optional: true } },
        { downwardAPI: { items: [{ path: "labels", fieldRef: { fieldPath: "metadata.labels" } }] } },
      ],
    },
  },
  { name: "host", hostPath: { path: "/tmp/x", type: "DirectoryOrCreate" } },
  { name: "own", ephemeral: { volumeClaimTemplate: { metadata: { labels }, spec: claimSpec } } },
  { name: "disk", persistentVolumeClaim: { claimName: "p" } },
  { name: "mem", emptyDir: { medium: "Memory", sizeLimit: "64Mi" } },
  { name: "csi", csi: { driver: "d.example.com", volumeAttributes: { a: "b" } } },
  { name: "nfs", nfs: { server: "s", path: "/p" } },
  { name: "iscsi", iscsi: { targetPortal: "10.0.0.1:3260", iqn: "iqn.2001-04.com.example:a", lun: 0 } },
];

const podSpec: JsonObject = {
  schedulerName: "none",
  initContainers: [
    { name: "init", image: "i" },
    { name: "side", image: "i:v1", restartPolicy: "Always", readinessProbe: { exec: { command: ["a"] } } },
  ],
  containers: [container, { name: "second", image: "i:latest", imagePullPolicy: "Never", stdin: true, tty: true }],
  volumes,
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [nodeTerm] },
      preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 5, preference: nodeTerm }],
    },
    podAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: [
        { labelSelector: selector, topologyKey: "zone", matchLabelKeys: ["rev"], namespaces: ["a"] },
      ],
    },
    podAntiAffinity: {
      preferredDuringSchedulingIgnoredDuringExecution: [
        { weight: 1, podAffinityTerm: { labelSelector: selector, topologyKey: "host", namespaceSelector: {} } },
      ],
    },
  },
  topologySpreadConstraints: [
    { maxSkew: 1, topologyKey: "zone", whenUnsatisfiable: "DoNotSchedule", labelSelector: selector, minDomains: 2 },
    { maxSkew: 2, topologyKey: "host", whenUnsatisfiable: "ScheduleAnyway", nodeTaintsPolicy: "Honor" },
  ],
  tolerations: [
    { key: "a", operator: "Equal", value: "b", effect: "NoSchedule" },
    { operator: "Exists", effect: "NoExecute", tolerationSeconds: 30 },
  ],
  nodeSelector: { zone: "z1" },
  securityContext: {
    runAsUser: 1000,
    runAsGroup: 1000,
    fsGroup: 2000,
    fsGroupChangePolicy: "OnRootMismatch",
    supplementalGroups: [1, 2],
    supplementalGroupsPolicy: "Merge",
    sysctls: [{ name: "net.core.somaxconn", value: "1024" }],
    appArmorProfile: { type: "RuntimeDefault" },
    seLinuxOptions: { level: "s0:c1,c2" },
  },
  hostAliases: [{ ip: "10.1.1.1", hostnames: ["a.example", "b"] }],
  dnsPolicy: "None",
  dnsConfig: { nameservers: ["10.0.0.10"], searches: ["a.example"], options: [{ name: "ndots", value: "2" }] },
  readinessGates: [{ conditionType: "example.com/ready" }],
  imagePullSecrets: [{ name: "p" }],
  os: { name: "linux" },
  hostname: "h",
  subdomain: "s",
  setHostnameAsFQDN: true,
  activeDeadlineSeconds: 600,
  terminationGracePeriodSeconds: 10,
  schedulingGates: [{ name: "example.com/gate" }],
};

const templateSpec: JsonObject = { ...podSpec, activeDeadlineSeconds: undefined };
const template = { metadata: { labels, annotations: { a: "b" } }, spec: templateSpec };
const jobTemplate = { metadata: { labels }, spec: { ...podSpec, restartPolicy: "Never" } };
const jobSpec = {
  completionMode: "Indexed",
  completions: 4,
  parallelism: 0,
  backoffLimitPerIndex: 1,
  maxFailedIndexes: 2,
  podReplacementPolicy: "Failed",
  podFailurePolicy: {
    rules: [
      { action: "FailJob", onExitCodes: { containerName: "main", operator: "In", values: [1, 2] } },
      { action: "Ignore", onPodConditions: [{ type: "DisruptionTarget", status: "True" }] },
    ],
  },
  successPolicy: { rules: [{ succeededIndexes: "0-2", succeededCount: 2 }] },
  suspend: true,
  ttlSecondsAfterFinished: 1000,
  template: jobTemplate,
};

const metrics = [
  { type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 50 } } },
  { type: "Pods", pods: { metric: { name: "m", selector }, target: { type: "AverageValue", averageValue: "1" } } },
  {
    type: "Object",
    object: {
      describedObject: { kind: "Service", name: "s", apiVersion: "v1" },
      metric: { name: "m" },
      target: { type: "Value", value: "10" },
    },
  },
  { type: "External", external: { metric: { name: "m" }, target: { type: "AverageValue", averageValue: "500m" } } },
  {
    type: "ContainerResource",
    containerResource: { name: "memory", container: "c", target: { type: "AverageValue", averageValue: "1Gi" } },
  },
];

const make = (
  apiVersion: string,
  kind: string,
  plural: string,
  body: JsonObject,
  rest: Partial<Pick<Sample, "namespaced" | "subresources" | "name">> = {},
): Sample => ({ apiVersion, kind, plural, namespaced: true, subresources: [], body, ...rest });
const whole = { namespaced: false };
const status = { subresources: ["status"] };
const service = (spec: JsonObject): Sample => make("v1", "Service", "services", { spec }, status);
const volume = (spec: JsonObject): Sample =>
  make("v1", "PersistentVolume", "persistentvolumes", { spec }, { ...whole, ...status });
const claim = (spec: JsonObject): Sample =>
  make("v1", "PersistentVolumeClaim", "persistentvolumeclaims", { spec }, status);

const core: readonly Sample[] = [
  make("v1", "Pod", "pods", { spec: podSpec }, { subresources: ["status", "ephemeralcontainers", "resize"] }),
  make("v1", "PodTemplate", "podtemplates", { template }),
  service({
    type: "NodePort",
    selector: labels,
    externalTrafficPolicy: "Local",
    sessionAffinity: "ClientIP",
    sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } },
    ports: [
      { name: "a", port: 80, targetPort: 8080, appProtocol: "http" },
      { name: "b", port: 81, protocol: "UDP" },
    ],
  }),
  service({
    type: "LoadBalancer",
    selector: labels,
    loadBalancerSourceRanges: ["10.0.0.0/8"],
    loadBalancerClass: "example.com/lb",
    allocateLoadBalancerNodePorts: false,
    externalIPs: ["203.0.113.1"],
    ports: [{ port: 443 }],
  }),
  service({ type: "ExternalName", externalName: "www.example.com" }),
  service({ clusterIP: "None", selector: labels, publishNotReadyAddresses: true, ports: [{ name: "a", port: 80 }] }),
  volume({
    capacity: { storage: "1Gi" },
    accessModes: ["ReadWriteOnce", "ReadOnlyMany"],
    csi: {
      driver: "d.example.com",
      volumeHandle: "h",
      fsType: "ext4",
      nodePublishSecretRef: { name: "s", namespace: "n" },
    },
    nodeAffinity: { required: { nodeSelectorTerms: [nodeTerm] } },
    persistentVolumeReclaimPolicy: "Delete",
    storageClassName: "none",
  }),
  volume({
    capacity: { storage: "1Gi" },
    accessModes: ["ReadWriteMany"],
    nfs: { server: "s", path: "/p" },
    mountOptions: ["ro"],
    claimRef: { namespace: "NAMESPACE", name: "c" },
  }),
  claim({
    ...claimSpec,
    storageClassName: "none",
    volumeMode: "Block",
    selector,
    dataSource: { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name: "s" },
  }),
  claim({ ...claimSpec, storageClassName: "none", dataSourceRef: { kind: "PersistentVolumeClaim", name: "p" } }),
  make("v1", "LimitRange", "limitranges", {
    spec: {
      limits: [
        { type: "Pod", max: { cpu: "2000", memory: "1Ti" }, maxLimitRequestRatio: { cpu: "1000" } },
        { type: "PersistentVolumeClaim", max: { storage: "100Ti" }, min: { storage: "1" } },
      ],
    },
  }),
  make("v1", "Endpoints", "endpoints", {
    subsets: [
      {
        notReadyAddresses: [
          { ip: "10.1.2.4", nodeName: "n", hostname: "h", targetRef: { kind: "Pod", name: "p", namespace: "n" } },
        ],
        ports: [{ port: 80, appProtocol: "kubernetes.io/h2c" }],
      },
    ],
  }),
];

const workloads: readonly Sample[] = [
  make("apps/v1", "Deployment", "deployments", {
    spec: {
      replicas: 0,
      selector,
      template,
      minReadySeconds: 5,
      progressDeadlineSeconds: 60,
      strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: "25%", maxUnavailable: 1 } },
    },
  }),
  make("apps/v1", "StatefulSet", "statefulsets", {
    spec: {
      replicas: 0,
      serviceName: "svc",
      selector: { matchLabels: labels },
      template,
      ordinals: { start: 1 },
      podManagementPolicy: "Parallel",
      persistentVolumeClaimRetentionPolicy: { whenDeleted: "Delete", whenScaled: "Retain" },
      updateStrategy: { type: "RollingUpdate", rollingUpdate: { partition: 1 } },
      volumeClaimTemplates: [{ metadata: { name: "d" }, spec: { ...claimSpec, storageClassName: "none" } }],
    },
  }),
  make("apps/v1", "DaemonSet", "daemonsets", {
    spec: {
      selector: { matchLabels: labels },
      template,
      updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    },
  }),
  make("batch/v1", "Job", "jobs", { spec: jobSpec }, status),
  make("batch/v1", "CronJob", "cronjobs", {
    spec: {
      schedule: "*/5 * * * *",
      timeZone: "Etc/UTC",
      suspend: true,
      concurrencyPolicy: "Replace",
      startingDeadlineSeconds: 100,
      jobTemplate: { metadata: { labels }, spec: jobSpec },
    },
  }),
  make("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", {
    spec: {
      scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "d" },
      minReplicas: 1,
      maxReplicas: 10,
      metrics,
      behavior: {
        scaleUp: { stabilizationWindowSeconds: 0, policies: [{ type: "Pods", value: 4, periodSeconds: 15 }] },
        scaleDown: { selectPolicy: "Min", policies: [{ type: "Percent", value: 10, periodSeconds: 60 }] },
      },
    },
  }),
];

const others: readonly Sample[] = [
  make("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", {
    spec: { maxUnavailable: "20%", selector, unhealthyPodEvictionPolicy: "AlwaysAllow" },
  }),
  make("networking.k8s.io/v1", "Ingress", "ingresses", {
    spec: {
      ingressClassName: "c",
      defaultBackend: { resource: { apiGroup: "example.com", kind: "K", name: "n" } },
      tls: [{ hosts: ["*.example.com"], secretName: "s" }],
      rules: [
        {
          host: "*.example.com",
          http: {
            paths: [
              { path: "/a", pathType: "Exact", backend: { service: { name: "s", port: { number: 80 } } } },
              { pathType: "ImplementationSpecific", backend: { service: { name: "s", port: { name: "http" } } } },
            ],
          },
        },
      ],
    },
  }),
  make("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", {
    spec: {
      podSelector: selector,
      policyTypes: ["Ingress", "Egress"],
      ingress: [
        {
          from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] } }, { namespaceSelector: selector }],
          ports: [{ protocol: "TCP", port: 80, endPort: 90 }],
        },
      ],
      egress: [{ to: [{ podSelector: selector, namespaceSelector: {} }], ports: [{ port: "http" }] }],
    },
  }),
  make("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", {
    addressType: "IPv4",
    endpoints: [
      {
        addresses: ["10.1.2.3"],
        conditions: { ready: true, serving: true, terminating: false },
        hostname: "h",
        nodeName: "n",
        zone: "z",
        hints: { forZones: [{ name: "z" }] },
        deprecatedTopology: { a: "b" },
      },
    ],
    ports: [{ name: "a", port: 80, protocol: "TCP", appProtocol: "http" }],
  }),
  make(
    "storage.k8s.io/v1",
    "StorageClass",
    "storageclasses",
    {
      provisioner: "example.com/p",
      parameters: { a: "b" },
      mountOptions: ["ro"],
      volumeBindingMode: "WaitForFirstConsumer",
      allowVolumeExpansion: true,
      allowedTopologies: [{ matchLabelExpressions: [{ key: "zone", values: ["a", "b"] }] }],
    },
    whole,
  ),
  make(
    "storage.k8s.io/v1",
    "CSIDriver",
    "csidrivers",
    {
      spec: {
        attachRequired: false,
        fsGroupPolicy: "File",
        volumeLifecycleModes: ["Persistent", "Ephemeral"],
        tokenRequests: [{ audience: "a", expirationSeconds: 3600 }],
      },
    },
    whole,
  ),
  make(
    "node.k8s.io/v1",
    "RuntimeClass",
    "runtimeclasses",
    {
      handler: "h",
      overhead: { podFixed: { cpu: "100m", memory: "1Mi" } },
      scheduling: { nodeSelector: { a: "b" }, tolerations: [{ key: "a", operator: "Exists" }] },
    },
    whole,
  ),
];

/** Objects in which there is much to change. */
export const deepSamples: readonly Sample[] = [...core, ...workloads, ...others];
