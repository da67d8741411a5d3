import type { Clock } from "../../../kernel/clock/index.js";
import type { BoundObject, ServiceAccountTokens } from "../../../kernel/identity/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { isPodOn, lookUp, nodeNameOf } from "../auth/index.js";
import { badRequest, conflict, forbidden, invalid, notFound } from "../failures.js";
import { isObject, metadataOf, objectAt, stringAt, stringsAt } from "../fields.js";
import { bodyType } from "../registry/index.js";
import type { Store, VirtualRequest, VirtualResource } from "../types.js";
import { timestamp } from "./answers.js";

export interface TokenRequestOptions {
  readonly store: Store;
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
export function tokenRequests(options: TokenRequestOptions): VirtualResource {
  return {
    group: "",
    version: "v1",
    plural: "serviceaccounts",
    subresource: "token",
    body: bodyType("authentication.k8s.io", "v1", "TokenRequest"),
    keepsIdentity: true,
    async create(request) {
      const { object, namespace, name } = request;
      const metadata = metadataOf(object);
      checkPlace(metadata, name);
      const account = lookUp(options.store, "", "serviceaccounts", { namespace, name });
      if (account === undefined) throw notFound({ group: "", plural: "serviceaccounts" }, name);
      const uid = stringAt(objectAt(account, "metadata"), "uid");
      checkUid(metadata, name, uid);
      const spec = objectAt(object, "spec");
      if (stringsAt(spec, "audiences").length === 0) spec["audiences"] = [options.serviceAccountTokens.issuer];
      const now = options.clock.now();
      Object.assign(metadata, { name, namespace, uid, creationTimestamp: timestamp(now) });
      const lifetimeSeconds = lifetimeOf(spec);
      await request.admit();
      const bindings = bindingsOf(options.store, request, spec);
      const audiences = stringsAt(spec, "audiences");
      const draft = { namespace, serviceAccount: { name, uid }, audiences, lifetimeSeconds, ...bindings };
      // A rehearsal gives a token too, as upstream: nothing is stored for one.
      const issued = await options.serviceAccountTokens.issue(draft);
      const status = { token: issued.token, expirationTimestamp: timestamp(issued.claims.expiresAt * 1000) };
      const boundObjectRef = spec["boundObjectRef"] ?? null;
      return { ...object, metadata: inOrder(metadata), spec: { ...spec, boundObjectRef }, status };
    },
  };
}

/** Who owns which field comes last, as in every object. */
function inOrder({ managedFields, ...metadata }: JsonObject): JsonObject {
  return managedFields === undefined ? metadata : { ...metadata, managedFields };
}

const tokenRequestKind = { group: "authentication.k8s.io", kind: "TokenRequest" };

function checkPlace(metadata: JsonObject, account: string): void {
  const name = stringAt(metadata, "name");
  if (name === "" || name === account) return;
  const message = `Invalid value: ${JSON.stringify(name)}: must match the service account name if specified`;
  throw invalid(tokenRequestKind, account, [{ reason: "FieldValueInvalid", message, field: "metadata.name" }]);
}

function checkUid(metadata: JsonObject, account: string, own: string): void {
  const uid = stringAt(metadata, "uid");
  if (uid === "" || uid === own) return;
  throw conflict(
    { group: tokenRequestKind.group, plural: tokenRequestKind.kind },
    account,
    `the UID in the token request (${uid}) does not match the UID of the service account (${own})`,
  );
}

function lifetimeOf(spec: JsonObject): number {
  const seconds = spec["expirationSeconds"];
  const refuse = (why: string) => {
    const message = `Invalid value: ${JSON.stringify(seconds)}: ${why}`;
    return invalid(tokenRequestKind, "", [{ reason: "FieldValueInvalid", message, field: "spec.expirationSeconds" }]);
  };
  if (typeof seconds !== "number" || seconds < 600) throw refuse("may not specify a duration less than 10 minutes");
  if (seconds > 2 ** 32) throw refuse("may not specify a duration larger than 2^32 seconds");
  return seconds;
}

function bindingsOf(
  store: Store,
  { namespace: place, name: account, user }: VirtualRequest,
  spec: JsonObject,
): Bindings {
  const reference = spec["boundObjectRef"];
  const node = nodeNameOf(user);
  if (!isObject(reference)) {
    // The admission plugin says so too; here it is certain whatever the plugins saw.
    if (node !== undefined) throw notThisNodes(account, node);
    return {};
  }
  const [kind, name, uid] = [stringAt(reference, "kind"), stringAt(reference, "name"), stringAt(reference, "uid")];
  if (node !== undefined && !(kind === "Pod" && isPodOn(store, node, { namespace: place, name, uid })))
    throw notThisNodes(account, node);
  const find = (plural: string, namespace: string) => found(store, { kind, plural, namespace, name, uid });
  switch (isInCore(reference) ? kind : "") {
    case "Pod": {
      const pod = find("pods", place);
      if ((stringAt(objectAt(pod.object, "spec"), "serviceAccountName") || "default") !== account)
        throw badRequest(
          `cannot bind token for serviceaccount "${account}" to pod running with different serviceaccount name.`,
        );
      const host = nodeOf(store, stringAt(objectAt(pod.object, "spec"), "nodeName"));
      return { pod: pod.bound, ...(host === undefined ? {} : { node: host }) };
    }
    case "Secret":
      return { secret: find("secrets", place).bound };
    case "Node":
      return { node: find("nodes", "").bound };
    default:
      throw badRequest(`cannot bind token to object of type ${shownVersion(reference)}, Kind=${kind}`);
  }
}

function isInCore(reference: JsonObject): boolean {
  return !stringAt(reference, "apiVersion").includes("/");
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
