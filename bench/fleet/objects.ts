/** What the loads write. Names carry a number by which events are told apart: `b<batch>n<index>`. */

export const namespace = "bench";
export const works = (member: string): string => `/apis/work.karmada.io/v1alpha1/namespaces/karmada-es-${member}/works`;
export const allWorks = "/apis/work.karmada.io/v1alpha1/works";
export const bindings = `/apis/work.karmada.io/v1alpha2/namespaces/${namespace}/resourcebindings`;
export const deployments = `/apis/apps/v1/namespaces/${namespace}/deployments`;
export const policies = `/apis/policy.karmada.io/v1alpha1/namespaces/${namespace}/propagationpolicies`;
export const clusters = "/apis/cluster.karmada.io/v1alpha1/clusters";

let batches = 0;

/** A number that no other load has. */
export function nextBatch(): number {
  batches += 1;
  return batches;
}

export function nameOf(batch: number, index: number): string {
  return `b${batch}n${index}`;
}

/** The index of the object of a batch that a line is about; `undefined`: of none. */
export function indexIn(line: string, batch: number): number | undefined {
  const match = /"b(\d+)n(\d+)[-"]/.exec(line);
  return match?.[1] === String(batch) ? Number(match[2]) : undefined;
}

export function namespaceDraft(): unknown {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } };
}

/** A Deployment of one container, as a user writes it. */
export function deployment(batch: number, index: number): Record<string, unknown> {
  const labels = { app: nameOf(batch, index) };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: nameOf(batch, index), namespace, labels: { ...labels, batch: `b${batch}` } },
    spec: {
      replicas: 2,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          containers: [
            {
              name: "web",
              image: "registry.example.com/team/web:1.4.2",
              ports: [{ containerPort: 8080 }],
              env: [{ name: "MODE", value: "production" }],
              resources: { requests: { cpu: "100m", memory: "64Mi" } },
            },
          ],
        },
      },
    },
  };
}

/** A Work with a Deployment, with everything that Karmada wants in one that somebody else wrote. */
export function work(
  member: string,
  batch: number,
  index: number,
): Record<string, unknown> & { readonly spec: Record<string, unknown> } {
  const name = nameOf(batch, index);
  const space = `karmada-es-${member}`;
  const manifest = deployment(batch, index);
  const metadata = manifest["metadata"] as { readonly labels: Record<string, string> };
  return {
    apiVersion: "work.karmada.io/v1alpha1",
    kind: "Work",
    metadata: { name, namespace: space, finalizers: ["karmada.io/execution-controller"] },
    spec: {
      workload: {
        manifests: [
          {
            ...manifest,
            metadata: {
              ...metadata,
              labels: { ...metadata.labels, "karmada.io/managed": "true" },
              annotations: {
                "work.karmada.io/name": name,
                "work.karmada.io/namespace": space,
                "resourcetemplate.karmada.io/generation": "1",
              },
            },
          },
        ],
      },
    },
  };
}

/** A policy for all Deployments of a batch, or for one of them. */
export function policy(batch: number, members: readonly string[], index?: number): Record<string, unknown> {
  const selector = { apiVersion: "apps/v1", kind: "Deployment" };
  return {
    apiVersion: "policy.karmada.io/v1alpha1",
    kind: "PropagationPolicy",
    metadata: { name: index === undefined ? `all-of-${batch}` : `of-${nameOf(batch, index)}`, namespace },
    spec: {
      resourceSelectors: [
        index === undefined
          ? { ...selector, labelSelector: { matchLabels: { batch: `b${batch}` } } }
          : { ...selector, name: nameOf(batch, index) },
      ],
      placement: { clusterAffinity: { clusterNames: members } },
    },
  };
}

/** A binding of a Deployment that the scheduler leaves alone. */
export function binding(of: {
  readonly batch: number;
  readonly index: number;
  readonly uid: string;
  readonly members: readonly string[];
}): Record<string, unknown> {
  const { batch, index, uid, members } = of;
  const owner = { apiVersion: "apps/v1", kind: "Deployment", name: nameOf(batch, index), uid };
  return {
    apiVersion: "work.karmada.io/v1alpha2",
    kind: "ResourceBinding",
    metadata: { name: `${nameOf(batch, index)}-deployment`, namespace, ownerReferences: [owner] },
    spec: {
      resource: { ...owner, namespace },
      replicas: 2,
      placement: { clusterAffinity: { clusterNames: members } },
      suspension: { scheduling: true },
    },
  };
}
