import type { JsonObject } from "../kernel/kinds/object.js";
import type { Level } from "../kernel/module/types.js";
import type { ListenAddress } from "./agent.js";
import { agentName } from "./agent-manifests.js";
import { hostServiceObjects, hostServices } from "./host-services.js";
import type { ServiceName } from "./services.js";

/** What an agent that runs in a pod of its own cluster is made from. */
export interface DeploymentOptions {
  /** Nodes run their agent outside of pods. */
  readonly level: Exclude<Level, "node">;
  /** What the fleet calls the cluster. */
  readonly cluster: string;
  /** Where the ServiceAccount of `agentRights` is. */
  readonly namespace: string;
  readonly image: string;
  /** The same port of every node leads to its gateway; absent: only addresses of the cluster do. */
  readonly nodePort?: number;
  /** Level cluster: where pods reach services of the hub's agent, which get names in this cluster; the hosts are addresses. */
  readonly services?: Readonly<Partial<Record<ServiceName, ListenAddress>>>;
  /** More words of `argosy agent`. */
  readonly options: readonly string[];
}

const USER = 65532;
const HEALTH_PORT = 8090;
/** A mount point belongs to root; the agent wants a directory of its own, below. */
const DATA = "/var/lib/argosy";
/** Port of the gateway in the pod. */
const GATEWAY_PORT = 8080;
const SERVICES: Readonly<Record<string, number>> = { northbound: 5000, artifacts: 9000 };
const WEBHOOK_PORT = 8443;
/** Ports of the Service that are not those of the pod. */
const SERVICE_PORTS: Readonly<Record<string, number>> = { ingress: 80, webhook: 443 };

/**
 * The Deployment and the Service by which an agent runs in its cluster, with an ordinary user, a read-only root and no rights on the node. The hub's agent
 * keeps its records on a claim of the default storage class.
 */
export function agentDeployment(options: DeploymentOptions): JsonObject[] {
  const { level, cluster, namespace, nodePort } = options;
  const name = agentName(level);
  const isHub = level === "continuum";
  const labels = { "app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "argosy" };
  const metadata = { name, namespace, labels };
  const ports: Readonly<Record<string, number>> = {
    ingress: GATEWAY_PORT,
    ...(isHub ? { ...SERVICES, webhook: WEBHOOK_PORT } : {}),
  };
  const args = [
    ...["agent", "--level", level, "--cluster", cluster, "--namespace", namespace, "--data", `${DATA}/agent`],
    ...["--ingress", `0.0.0.0:${GATEWAY_PORT}`, "--health", `0.0.0.0:${HEALTH_PORT}`],
    ...(isHub ? Object.entries(SERVICES).flatMap(([service, port]) => [`--${service}`, `0.0.0.0:${port}`]) : []),
    ...(isHub && !options.options.includes("--webhook") ? ["--webhook", `0.0.0.0:${WEBHOOK_PORT}`] : []),
    ...(isHub && !options.options.includes("--advertise") ? ["--advertise", "services"] : []),
    ...options.options,
  ];
  const deployment = {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata,
    spec: {
      replicas: 1,
      // Records of the hub can be open once only; a member's next gateway is there before the last one goes.
      strategy: isHub ? { type: "Recreate" } : { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 0 } },
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: podOf(options, { name, args, ports }) },
    },
  };
  const service = {
    apiVersion: "v1",
    kind: "Service",
    metadata,
    spec: {
      selector: labels,
      ...(nodePort === undefined ? {} : { type: "NodePort" }),
      ports: Object.entries(ports).map(([port, number]) => ({
        name: port,
        port: SERVICE_PORTS[port] ?? number,
        targetPort: port,
        ...(port === "ingress" && nodePort !== undefined ? { nodePort } : {}),
      })),
    },
  };
  return [...(isHub ? [claimOf(metadata)] : []), ...servicesOf(options), deployment, service];
}

function servicesOf({ services = {} }: DeploymentOptions): JsonObject[] {
  return (["northbound", "artifacts"] as const).flatMap((name) => {
    const at = services[name];
    return at === undefined ? [] : hostServiceObjects({ ...hostServices[name], targetPort: at.port }, at.host);
  });
}

function podOf(
  { level, image }: DeploymentOptions,
  { name, args, ports }: { name: string; args: readonly string[]; ports: Readonly<Record<string, number>> },
): JsonObject {
  const probe = (path: string) => ({ httpGet: { path, port: "health" }, periodSeconds: 5, timeoutSeconds: 3 });
  return {
    serviceAccountName: name,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: USER,
      runAsGroup: USER,
      fsGroup: USER,
      seccompProfile: { type: "RuntimeDefault" },
    },
    // The gateway is given time to end what it carries.
    terminationGracePeriodSeconds: 30,
    containers: [
      {
        name: "agent",
        image,
        imagePullPolicy: "IfNotPresent",
        args: [...args],
        ports: [
          ...Object.entries(ports).map(([port, containerPort]) => ({ name: port, containerPort })),
          { name: "health", containerPort: HEALTH_PORT },
        ],
        readinessProbe: probe("/readyz"),
        livenessProbe: { ...probe("/healthz"), failureThreshold: 6 },
        terminationMessagePolicy: "FallbackToLogsOnError",
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        },
        resources: { requests: { cpu: "50m", memory: "128Mi" }, limits: { memory: "512Mi" } },
        volumeMounts: [
          { name: "data", mountPath: DATA },
          { name: "tmp", mountPath: "/tmp" },
        ],
      },
    ],
    volumes: [
      level === "continuum"
        ? { name: "data", persistentVolumeClaim: { claimName: name } }
        : { name: "data", emptyDir: {} },
      { name: "tmp", emptyDir: {} },
    ],
  };
}

function claimOf(metadata: JsonObject): JsonObject {
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata,
    spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "10Gi" } } },
  };
}
