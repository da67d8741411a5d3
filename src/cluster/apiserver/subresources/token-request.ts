import type { Clock } from "../../../kernel/clock/index.js";
import type { BoundObject, ServiceAccountTokens } from "../../../kernel/identity/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { isPodOn, lookUp, nodeNameOf } from "../auth/index.js";
import { badRequest, conflict, forbidden, invalid, methodNotAllowed, notFound } from "../failures.js";
import { isObject, objectAt, stringAt, stringsAt } from "../fields.js";
import { checkApiVersionAndKind } from "../registry/coordinates.js";
import { parseBody } from "../request/body.js";
import type { Store, SubresourceContext, SubresourceHandler } from "../types.js";
import { placeInNamespace } from "../verbs/create.js";
import { json, timestamp } from "./answers.js";

export interface TokenRequestOptions {
  readonly clock: Clock;
  readonly serviceAccountTokens: ServiceAccountTokens;
}

/** A binding that was checked: the object lives and may carry a token of this account. */
interface Bindings {
  readonly pod?: BoundObject;
  readonly secret?: BoundObject;
  readonly node?: BoundObject;
}

/** `serviceaccounts/token`: a signed token for an account, tied to a pod, secret or node where asked. */
export function tokenRequests(options: TokenRequestOptions): SubresourceHandler {
  return {
    path: "serviceaccounts/token",
    async handle(context) {
      if (context.request.method !== "POST") throw methodNotAllowed();
      const { namespace, name } = context.info;
      const { value: asked } = parseBody(
        context.request.body,
        context.request.headers["content-type"],
        tokenRequestKind.kind,
      );
      checkApiVersionAndKind(asked, tokenRequestKind);
      placeInNamespace(asked, namespace);
      const account = lookUp(context.store, "", "serviceaccounts", { namespace, name });
      if (account === undefined) throw notFound({ group: "", plural: "serviceaccounts" }, name);
      checkName(asked, name);
      const spec = objectAt(asked, "spec");
      const lifetimeSeconds = lifetimeOf(spec);
      const audiences = stringsAt(spec, "audiences");
      const wanted = audiences.length === 0 ? [options.serviceAccountTokens.issuer] : audiences;
      const uid = stringAt(objectAt(account, "metadata"), "uid");
      const bindings = bindingsOf(context, spec);
      const draft = { namespace, serviceAccount: { name, uid }, audiences: wanted, lifetimeSeconds, ...bindings };
      // A rehearsal gives a token too, as upstream: nothing is stored for one.
      const issued = await options.serviceAccountTokens.issue(draft);
      const now = options.clock.now();
      return json(201, {
        kind: "TokenRequest",
        apiVersion: "authentication.k8s.io/v1",
        metadata: { name, namespace, uid, creationTimestamp: timestamp(now) },
        spec: {
          audiences: wanted,
          expirationSeconds: lifetimeSeconds,
          boundObjectRef: isObject(spec["boundObjectRef"]) ? spec["boundObjectRef"] : null,
        },
        status: { token: issued.token, expirationTimestamp: timestamp(issued.claims.expiresAt * 1000) },
      });
    },
  };
}

const tokenRequestKind = {
  group: "authentication.k8s.io",
  version: "v1",
  kind: "TokenRequest",
  plural: "tokenrequests",
  namespaced: true,
};

function checkName(asked: JsonObject, account: string): void {
  const name = stringAt(objectAt(asked, "metadata"), "name");
  if (name === "" || name === account) return;
  const message = `Invalid value: ${JSON.stringify(name)}: must match the service account name if specified`;
  throw invalid(tokenRequestKind, account, [{ reason: "FieldValueInvalid", message, field: "metadata.name" }]);
}

function lifetimeOf(spec: JsonObject): number {
  const seconds = spec["expirationSeconds"] ?? 3600;
  const refuse = (why: string) =>
    invalid({ group: "authentication.k8s.io", kind: "TokenRequest" }, "", [
      {
        reason: "FieldValueInvalid",
        message: `Invalid value: ${JSON.stringify(seconds)}: ${why}`,
        field: "spec.expirationSeconds",
      },
    ]);
  if (typeof seconds !== "number" || !Number.isInteger(seconds)) throw refuse("must be an integer");
  if (seconds < 600) throw refuse("may not specify a duration less than 10 minutes");
  if (seconds > 2 ** 32) throw refuse("may not specify a duration larger than 2^32 seconds");
  return seconds;
}

function bindingsOf(context: SubresourceContext, spec: JsonObject): Bindings {
  const { store, info, user } = context;
  const reference = spec["boundObjectRef"];
  const node = nodeNameOf(user);
  if (!isObject(reference)) {
    // The admission plugin says so too; here it is certain whatever the plugins saw.
    if (node !== undefined) throw notThisNodes(info.name, node);
    return {};
  }
  const [kind, name, uid] = [stringAt(reference, "kind"), stringAt(reference, "name"), stringAt(reference, "uid")];
  if (node !== undefined && !(kind === "Pod" && isPodOn(store, node, { namespace: info.namespace, name, uid })))
    throw notThisNodes(info.name, node);
  const find = (plural: string, namespace: string) => found(store, { kind, plural, namespace, name, uid });
  switch (kind) {
    case "Pod": {
      const pod = find("pods", info.namespace);
      if ((stringAt(objectAt(pod.object, "spec"), "serviceAccountName") || "default") !== info.name)
        throw badRequest(
          `cannot bind token for serviceaccount "${info.name}" to pod running with different serviceaccount name.`,
        );
      const host = nodeOf(store, stringAt(objectAt(pod.object, "spec"), "nodeName"));
      return { pod: pod.bound, ...(host === undefined ? {} : { node: host }) };
    }
    case "Secret":
      return { secret: find("secrets", info.namespace).bound };
    case "Node":
      return { node: find("nodes", "").bound };
    default:
      throw badRequest(`cannot bind token to object of type ${shownVersion(reference)}, Kind=${kind}`);
  }
}

/** Group and version as Go shows them. */
function shownVersion(reference: JsonObject): string {
  const version = stringAt(reference, "apiVersion");
  return version.includes("/") ? version : `/${version}`;
}

function found(
  store: Store,
  at: { kind: string; plural: string; namespace: string; name: string; uid: string },
): { object: JsonObject; bound: BoundObject } {
  const object = lookUp(store, "", at.plural, at);
  if (object === undefined) throw notFound({ group: "", plural: at.plural }, at.name);
  const uid = stringAt(objectAt(object, "metadata"), "uid");
  if (at.uid !== "" && at.uid !== uid)
    throw conflict(
      { group: "", plural: at.kind },
      at.name,
      `the UID in the bound object reference (${at.uid}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  return { object, bound: { name: at.name, uid } };
}

function nodeOf(store: Store, name: string): BoundObject | undefined {
  if (name === "") return undefined;
  const node = lookUp(store, "", "nodes", { namespace: "", name });
  return { name, uid: node === undefined ? "" : stringAt(objectAt(node, "metadata"), "uid") };
}

function notThisNodes(account: string, node: string) {
  return forbidden(
    { group: "", plural: "serviceaccounts" },
    account,
    `node "${node}" may only ask for tokens of pods that run on it`,
  );
}
