import type { Switched, TransportResponse } from "../../../kernel/client/index.js";
import type { ProxyRequest } from "../../../kernel/module/types.js";
import { badRequest, notFound } from "../failures.js";
import { objectKey } from "../store/keys.js";
import type { SubresourceContext, SubresourceHandler } from "../types.js";
import { passedHeaders, switchedHeaders, upgradeHeaders } from "./node-connection.js";
import { pathBelowProxy } from "./proxies.js";

/** Who answers the `proxy` subresource of one kind. */
export interface ObjectProxy {
  readonly about: { readonly group: string; readonly plural: string };
  readonly forward: (name: string, request: ProxyRequest) => Promise<TransportResponse>;
  readonly upgrade?: (name: string, request: Omit<ProxyRequest, "body">) => Promise<Switched>;
}

/** The proxies of kinds that are none of the API server's own. */
export function objectProxies(proxies: readonly ObjectProxy[]): SubresourceHandler[] {
  return proxies.map(({ about, forward, upgrade }) => ({
    path: `${about.plural}.${about.group}/proxy`,
    isLasting: true,
    async handle(context) {
      const { request, info, user } = context;
      mustExist(about, context);
      const { status, headers, body } = await forward(info.name, {
        method: request.method,
        path: pathBelowProxy(context),
        headers: passedHeaders(request.headers),
        body: request.body,
        user,
        signal: request.signal,
      });
      return { status, headers: passedHeaders(headers), body };
    },
    async upgrade(context) {
      const { request, info, user } = context;
      mustExist(about, context);
      if (upgrade === undefined) throw badRequest("what is behind this proxy takes no upgrades");
      const { headers, socket } = await upgrade(info.name, {
        method: request.method,
        path: pathBelowProxy(context),
        headers: { ...passedHeaders(request.headers), ...upgradeHeaders(request.headers) },
        user,
        signal: request.signal,
      });
      return { headers: switchedHeaders(headers), socket };
    },
  }));
}

function mustExist(about: ObjectProxy["about"], { store, info }: SubresourceContext): void {
  if (store.get(objectKey(about, info.namespace, info.name)) === undefined) throw notFound(about, info.name);
}
