import type { ClusterAccess } from "../../../kernel/control/index.js";
import { ApiError } from "../../../kernel/errors/index.js";
import type { ModuleProxy } from "../../../kernel/module/types.js";
import { ClusterKind } from "../kinds.js";

/**
 * `clusters/NAME/proxy/…`: a member's API through the hub's. The hub's identity there speaks for whoever asks, so the member's own rights count;
 * it must be allowed to impersonate.
 */
export function clusterProxy(members: (cluster: string) => ClusterAccess | undefined): ModuleProxy {
  return {
    kind: ClusterKind,
    level: "continuum",
    async forward(name, { method, path, headers, body, user, signal }) {
      const member = members(name);
      if (member === undefined) throw unreachable(name);
      const extra = Object.entries(user.extra ?? {}).map(([key, values]) => [
        `impersonate-extra-${encodeURIComponent(key)}`,
        values,
      ]);
      return member.client.transport.request({
        method,
        path,
        headers: { ...headers, "impersonate-user": user.username },
        repeatedHeaders: { "impersonate-group": user.groups, ...Object.fromEntries(extra) },
        ...(body.byteLength === 0 ? {} : { body }),
        signal,
      });
    },
  };
}

function unreachable(name: string): ApiError {
  return new ApiError({
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message: `the hub has no connection to cluster ${name}; the events of the Cluster say why`,
    reason: "ServiceUnavailable",
    code: 503,
  });
}
