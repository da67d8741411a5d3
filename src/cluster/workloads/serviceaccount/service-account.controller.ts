import type { ControllerSpec } from "../../../kernel/control/index.js";
import { isAlreadyExists, isNotFound } from "../../../kernel/errors/index.js";
import { isDeleting, type Namespace, NamespaceKind, ServiceAccountKind } from "../../../kernel/kinds/index.js";

/** Keeps a ServiceAccount `default` in every namespace. */
export function serviceAccountController(): ControllerSpec<Namespace> {
  return {
    name: "service-account-controller",
    kind: NamespaceKind,
    watches: [
      {
        kind: ServiceAccountKind,
        keys: ({ metadata }) =>
          metadata.name === "default" ? [{ namespace: "", name: metadata.namespace ?? "" }] : [],
      },
    ],
    async reconcile({ name: namespace }, object, { cluster }) {
      if (object === undefined || isDeleting(object)) return;
      if (cluster.informers.informer(ServiceAccountKind).get({ namespace, name: "default" }) !== undefined) return;
      const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace } };
      try {
        await cluster.client
          .resource(ServiceAccountKind)
          .create(account, { namespace, fieldManager: "service-account-controller" });
      } catch (error) {
        // Made by somebody else, or the namespace went meanwhile.
        if (!isAlreadyExists(error) && !isNotFound(error)) throw error;
      }
    },
  };
}
