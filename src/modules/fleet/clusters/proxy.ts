import { type Switched, type Transport, UnavailableError } from "../../../kernel/client/index.js";
import { ApiError } from "../../../kernel/errors/index.js";
import type { ModuleProxy, ProxyRequest } from "../../../kernel/module/types.js";
import { ClusterKind } from "../kinds.js";

/**
 * `clusters/NAME/proxy/…`: a member's API through the hub's. The hub's identity there speaks for whoever asks, so the member's own rights count;
 * it must be allowed to impersonate. `speaker`: the way into a member with such an identity; undefined: there is none.
 */
export function clusterProxy(speaker: (cluster: string) => Transport | undefined): ModuleProxy {
  const into = (name: string): Transport => {
    const transport = speaker(name);
    if (transport === undefined) throw unreachable(name, "");
    return transport;
  };
  return {
    kind: ClusterKind,
    level: "continuum",
    async forward(name, request) {
      const { method, path, body, signal } = request;
      const sent = { method, path, signal, ...spokenFor(request), ...(body.byteLength === 0 ? {} : { body }) };
      return answered(name, into(name).request(sent));
    },
    async upgrade(name, request): Promise<Switched> {
      const { method, path, signal } = request;
      const transport = into(name);
      if (transport.switchProtocols === undefined) throw unreachable(name, ": upgrades do not pass");
      return answered(name, transport.switchProtocols({ method, path, signal, ...spokenFor(request) }));
    },
  };
}

/** In whose name it is asked: user and groups, without those that everybody is in anyway (as Karmada does). */
function spokenFor({ headers, user }: Pick<ProxyRequest, "headers" | "user">) {
  const groups = user.groups.filter((group) => group !== "system:authenticated" && group !== "system:unauthenticated");
  return {
    headers: { ...headers, "impersonate-user": user.username },
    repeatedHeaders: { "impersonate-group": groups },
  };
}

/** A member that is silent is not this server's failure. */
async function answered<T>(name: string, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof UnavailableError || (error instanceof Error && !(error instanceof ApiError)))
      throw unreachable(name, `: ${error.message}`);
    throw error;
  }
}

function unreachable(name: string, why: string): ApiError {
  const message =
    why === ""
      ? `the hub has no way into cluster ${name}: a pull member needs spec.apiEndpoint and spec.impersonatorSecretRef for that; of others the events of the Cluster say why`
      : `cluster ${name} does not answer${why}`;
  return new ApiError({
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    reason: "ServiceUnavailable",
    code: 503,
  });
}
