import type { ControllerSpec } from "../../../kernel/control/index.js";
import { isAlreadyExists, isNotFound } from "../../../kernel/errors/index.js";
import { ConfigMapKind, isDeleting, type Namespace, NamespaceKind } from "../../../kernel/kinds/index.js";

const name = "kube-root-ca.crt";

/** Keeps the cluster's CA certificate in every namespace, where token volumes take it from. */
export function rootCaPublisher(options: { readonly caPem: string }): ControllerSpec<Namespace> {
  const data = { "ca.crt": options.caPem };
  const annotations = {
    "kubernetes.io/description":
      "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
  };
  return {
    name: "root-ca-certificate-publisher",
    kind: NamespaceKind,
    watches: [
      {
        kind: ConfigMapKind,
        keys: ({ metadata }) => (metadata.name === name ? [{ namespace: "", name: metadata.namespace ?? "" }] : []),
      },
    ],
    async reconcile({ name: namespace }, object, { cluster }) {
      if (object === undefined || isDeleting(object)) return;
      const maps = cluster.client.resource(ConfigMapKind);
      const found = cluster.informers.informer(ConfigMapKind).get({ namespace, name });
      if (found !== undefined && JSON.stringify(found.data) === JSON.stringify(data)) return;
      try {
        if (found !== undefined) {
          await maps.update({ ...found, data }, { namespace, fieldManager: "root-ca-certificate-publisher" });
          return;
        }
        const map = { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace, annotations }, data };
        await maps.create(map, { namespace, fieldManager: "root-ca-certificate-publisher" });
      } catch (error) {
        if (!isAlreadyExists(error) && !isNotFound(error)) throw error;
      }
    },
  };
}
