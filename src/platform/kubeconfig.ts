import { dump } from "js-yaml";

/** One cluster as a kubeconfig names it. */
export interface KubeconfigCluster {
  readonly name: string;
  readonly server: string;
  readonly caPem: string;
  readonly token: string;
}

/** A kubeconfig with one context per cluster; the first is current. Hold it as a secret. */
export function renderKubeconfig(clusters: readonly KubeconfigCluster[]): string {
  return dump(
    {
      apiVersion: "v1",
      kind: "Config",
      "current-context": clusters[0]?.name ?? "",
      clusters: clusters.map((cluster) => ({
        name: cluster.name,
        cluster: {
          server: cluster.server,
          "certificate-authority-data": Buffer.from(cluster.caPem).toString("base64"),
        },
      })),
      users: clusters.map((cluster) => ({ name: `${cluster.name}-admin`, user: { token: cluster.token } })),
      contexts: clusters.map((cluster) => ({
        name: cluster.name,
        context: { cluster: cluster.name, user: `${cluster.name}-admin` },
      })),
    },
    { lineWidth: -1 },
  );
}
