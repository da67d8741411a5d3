import type { ApiClient } from "../../../kernel/client/index.js";
import { ArgosyError } from "../../../kernel/errors/index.js";
import { asString, isObject } from "../../../kernel/schema/index.js";
import { CLUSTER_SPACE } from "./names.js";

/** A token of an account of the hub. */
export interface HubToken {
  readonly token: string;
  /** Milliseconds since the epoch. */
  readonly expiresMs: number;
}

/** Asks the hub for a token of one of the members' accounts. Throws an `ApiError` when it is not given. */
export async function requestToken(
  hub: ApiClient,
  account: string,
  lifetimeSeconds: number,
  signal?: AbortSignal,
): Promise<HubToken> {
  const path = `/api/v1/namespaces/${CLUSTER_SPACE}/serviceaccounts/${account}/token`;
  const body = {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    spec: { expirationSeconds: Math.max(600, Math.round(lifetimeSeconds)) },
  };
  const answer = await hub.json("POST", path, body, signal === undefined ? {} : { signal });
  const status = isObject(answer) ? answer["status"] : undefined;
  if (!isObject(status) || typeof status["token"] !== "string")
    throw new ArgosyError("NoToken", `the hub gives ServiceAccount ${CLUSTER_SPACE}/${account} no token`);
  return { token: status["token"], expiresMs: Date.parse(asString(status["expirationTimestamp"])) };
}
