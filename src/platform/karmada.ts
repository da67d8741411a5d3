import { type ApiClient, type Transport, UnavailableError } from "../kernel/client/index.js";
import { isNotFound } from "../kernel/errors/index.js";
import { isObject } from "../kernel/schema/index.js";

/** Requests about Karmada's own groups. */
const KARMADA_PATH = /^\/(?:openapi\/v3\/)?apis\/[a-z]+\.karmada\.io(?:\/|$)/;

/** A hub whose Karmada has an API server of its own: what is Karmada's goes there, everything else to the hub. */
export function withKarmada(hub: Transport, karmada: Transport): Transport {
  const of = (path: string) => (KARMADA_PATH.test(path) ? karmada : hub);
  return {
    request: (request) => of(request.path).request(request),
    upgrade: (path, protocols, signal) => of(path).upgrade(path, protocols, signal),
    async switchProtocols(request) {
      const transport = of(request.path);
      if (transport.switchProtocols === undefined)
        throw new UnavailableError(`nothing that is upgraded is at ${request.path}`);
      return transport.switchProtocols(request);
    },
    close: async () => {
      await Promise.all([hub.close(), karmada.close()]);
    },
  };
}

/** Whether a real Karmada runs behind an API: its Clusters are no CustomResources but served by a program of its own. */
export async function servesKarmada(client: ApiClient): Promise<boolean> {
  try {
    const path = "/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.cluster.karmada.io";
    const service = await client.json("GET", path);
    const spec = isObject(service) ? service["spec"] : undefined;
    return isObject(spec) && isObject(spec["service"]);
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}
