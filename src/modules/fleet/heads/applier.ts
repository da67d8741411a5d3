import type { ClusterAccess } from "../../../kernel/control/index.js";
import { ArgosyError, isConflict, messageOf } from "../../../kernel/errors/index.js";
import type { JsonObject, Kind } from "../../../kernel/kinds/index.js";
import { isObject, toJsonObject } from "../../../kernel/schema/index.js";
import { jsonOf } from "../json.unsafe.js";
import type { ConditionDraft, HeadIngress, HeadIngressStatus } from "../kinds.js";
import { ARGOSY } from "../names.js";
import { renderGatewayApi } from "./gateway-api.js";
import { renderHaproxy } from "./haproxy.js";
import { renderIstio } from "./istio.js";
import { renderNginx } from "./nginx.js";
import { type HeadRoute, type Limit, type RenderedObject, unsafeFieldsOf } from "./rendering.js";

const MANAGER = "argosy-head-ingress";

class NoSuchKindError extends ArgosyError {
  constructor(message: string) {
    super("NoSuchKind", message);
  }
}

class NotOursError extends ArgosyError {
  constructor(message: string) {
    super("NotOurs", message);
  }
}

/** What a HeadIngress can be rendered for. */
export type RenderedClass = "nginx" | "haproxy" | "istio" | "gateway-api";

type Rendered = NonNullable<HeadIngressStatus["rendered"]>;

/** What became of rendering. */
export interface ApplyOutcome {
  readonly rendered: Rendered | undefined;
  readonly condition: ConditionDraft;
  readonly limits: readonly Limit[];
  /** What was applied, as it is there. */
  readonly objects?: readonly JsonObject[];
}

/** Where rendered objects go, and where they are looked for when they are to go. */
export interface ApplyPlaces {
  /** By the name of `spec.ingressCluster`; undefined is the hub. */
  readonly of: (cluster: string | undefined) => ClusterAccess | undefined;
}

/** Who carries a HeadIngress; `auto` is carried by the built-in gateway, whatever is rendered beside it. */
export function classOf(head: HeadIngress): "builtin" | RenderedClass {
  const { class: asked = "auto" } = head.spec;
  return asked === "auto" ? "builtin" : asked;
}

/** Name of the ConfigMap that holds an nginx or haproxy configuration. */
export function configMapOf(head: HeadIngress, kind: RenderedClass): string {
  return head.spec.rendering?.configMap ?? `argosy-${kind}`;
}

/** The objects for one HeadIngress; `group` are all that share a configuration with it, itself included. Pure. */
export function renderFor(
  kind: RenderedClass,
  own: HeadRoute,
  group: readonly HeadRoute[],
): { readonly objects: readonly RenderedObject[]; readonly limits: readonly Limit[] } {
  if (kind === "istio") return renderIstio(own);
  if (kind === "gateway-api") return renderGatewayApi(own);
  const settings = { listen: placeIn(group, false), listenTls: placeIn(group, true), directory: "/tmp" };
  const [report] = group.flatMap(({ head }) => head.spec.rendering?.report?.listen ?? []).sort();
  const told = report === undefined ? settings : { ...settings, report };
  const unsafe = unsafeFieldsOf(own);
  const carried = group.filter((one) => unsafeFieldsOf(one).length === 0);
  if (carried.length === 0) return { objects: [], limits: unsafe };
  const { text, limits } = kind === "nginx" ? renderNginx(carried, told) : renderHaproxy(carried, told);
  const object: RenderedObject = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: configMapOf(own.head, kind), namespace: own.head.metadata.namespace ?? "" },
    data: { [kind === "nginx" ? "nginx.conf" : "haproxy.cfg"]: text },
  };
  const { tls, rendering } = own.head.spec;
  const place = placeIn(group, tls !== undefined);
  const isElsewhere = rendering?.listen !== undefined && rendering.listen !== place;
  const message = `an older HeadIngress that shares ConfigMap ${object.metadata.name} says ${place}`;
  const elsewhere = isElsewhere ? [{ field: "spec.rendering.listen", message }] : [];
  return { objects: [object], limits: [...unsafe, ...elsewhere, ...(limits.get(own.route.id) ?? [])] };
}

/** Where a shared configuration listens: as the oldest HeadIngress says that says anything, whoever of them is looked at. */
function placeIn(group: readonly HeadRoute[], isSecure: boolean): string {
  const [place] = group.flatMap(({ head: { spec } }) =>
    (spec.tls !== undefined) === isSecure ? (spec.rendering?.listen ?? []) : [],
  );
  return place ?? (isSecure ? "*:8443" : "*:8080");
}

/** Brings what is rendered into the ingress cluster and takes away what no longer is. */
export class HeadApplier {
  readonly #places: ApplyPlaces;

  constructor(places: ApplyPlaces) {
    this.#places = places;
  }

  /** Makes the cluster so that exactly these objects are there for the HeadIngress. `shared` are the names of objects that others need too. */
  async apply(kind: RenderedClass, own: HeadRoute, group: readonly HeadRoute[]): Promise<ApplyOutcome> {
    const { head } = own;
    const { objects, limits } = renderFor(kind, own, group);
    const { ingressCluster } = head.spec;
    const place = this.#places.of(ingressCluster);
    const failed = (reason: string, message: string): ApplyOutcome => ({
      rendered: head.status?.rendered,
      condition: { type: "Rendered", status: "False", reason, message },
      limits,
    });
    if (place === undefined) return failed("NoCluster", describeUnconnected(ingressCluster ?? ""));
    const sharing = kind === "nginx" || kind === "haproxy" ? group : [own];
    const owners = ingressCluster === undefined ? sharing.map(({ head: one }) => ownerOf(one)) : [];
    const applied: JsonObject[] = [];
    try {
      await tryOut(place, head, { objects, owners });
      for (const object of objects) applied.push(await applyOne(place, object, owners));
      await this.remove(head, objects);
    } catch (error) {
      const isTaken = error instanceof NotOursError || isConflict(error);
      return failed(isTaken ? "Conflict" : "ApplyFailed", messageOf(error));
    }
    const [unsafe] = kind === "nginx" || kind === "haproxy" ? unsafeFieldsOf(own) : [];
    if (unsafe !== undefined) return failed("NotExpressible", `${unsafe.field}: ${unsafe.message}`);
    const rendered: Rendered = {
      class: kind,
      ...(ingressCluster === undefined ? {} : { cluster: ingressCluster }),
      objects: objects.map(idOf),
    };
    const names = objects.map((object) => `${object.kind} ${object.metadata.name}`).join(", ");
    return {
      rendered,
      condition: { type: "Rendered", status: "True", reason: "Applied", message: `rendered for ${kind}: ${names}` },
      limits,
      objects: applied,
    };
  }

  /** Removes what an earlier state of the HeadIngress left and `kept` does not name. Throws what the cluster's API throws. */
  async remove(head: HeadIngress, kept: readonly RenderedObject[]): Promise<void> {
    const before = head.status?.rendered;
    const place = before === undefined ? undefined : this.#places.of(before.cluster);
    if (before === undefined || place === undefined) return;
    const isSamePlace = before.cluster === head.spec.ingressCluster;
    const wanted = new Set(isSamePlace ? kept.map((object) => keyOf(idOf(object))) : []);
    for (const id of before.objects) {
      if (wanted.has(keyOf(id))) continue;
      const kind = await place.client.findKind(id.apiVersion, id.kind);
      if (kind === undefined) continue;
      const objects = place.client.dynamic(kind);
      const found = await objects.find(id.name, { namespace: id.namespace });
      // Another's, or one that others still need.
      if (found?.metadata.labels?.[ARGOSY.headIngress] !== "true" || isShared(head, found.metadata.ownerReferences))
        continue;
      await objects.delete(id.name, { namespace: id.namespace });
    }
  }
}

/** Of a cluster that is to be rendered into. */
export function describeUnconnected(ingressCluster: string): string {
  return `spec.ingressCluster: there is no connection to a cluster "${ingressCluster}"`;
}

function isShared(head: HeadIngress, owners: readonly { readonly uid: string }[] | undefined): boolean {
  return (owners ?? []).some(({ uid }) => uid !== head.metadata.uid);
}

function idOf(object: RenderedObject): Rendered["objects"][number] {
  const { name, namespace = "" } = object.metadata;
  return { apiVersion: object.apiVersion, kind: object.kind, namespace, name };
}

function keyOf({ apiVersion, kind, namespace, name }: Rendered["objects"][number]): string {
  return JSON.stringify([apiVersion, kind, namespace, name]);
}

function ownerOf(head: HeadIngress): JsonObject {
  const { name, uid } = head.metadata;
  return toJsonObject({ apiVersion: head.apiVersion, kind: head.kind, name, uid });
}

/** What is to be applied, and who owns it. */
interface Wanted {
  readonly objects: readonly RenderedObject[];
  readonly owners: readonly JsonObject[];
}

/** Before anything is made: what is new must be nobody else's, and acceptable, all of it. Nothing is left half. */
async function tryOut(place: ClusterAccess, head: HeadIngress, { objects, owners }: Wanted): Promise<void> {
  const before = head.status?.rendered;
  const known = new Set(
    before === undefined || before.cluster !== head.spec.ingressCluster ? [] : before.objects.map(keyOf),
  );
  for (const object of objects) {
    if (known.has(keyOf(idOf(object)))) continue;
    const { namespace = "", name } = object.metadata;
    const found = await place.client.dynamic(await kindOf(place, object)).find(name, { namespace });
    if (found !== undefined && found.metadata.labels?.[ARGOSY.headIngress] !== "true")
      throw new NotOursError(
        `${object.kind} ${namespace}/${name} is there already, and was not rendered: it is left alone. Give the HeadIngress another name${object.kind === "ConfigMap" ? " of spec.rendering.configMap" : ""}, or label it ${ARGOSY.headIngress}=true to hand it over`,
      );
    await applyOne(place, object, owners, true);
  }
}

async function kindOf(place: ClusterAccess, object: RenderedObject): Promise<Kind> {
  const kind = await place.client.findKind(object.apiVersion, object.kind);
  if (kind !== undefined) return kind;
  throw new NoSuchKindError(
    `cluster ${place.name} has no kind ${object.kind} in ${object.apiVersion}: install there what serves it`,
  );
}

async function applyOne(
  place: ClusterAccess,
  object: RenderedObject,
  owners: readonly JsonObject[],
  dryRun = false,
): Promise<JsonObject> {
  const kind = await kindOf(place, object);
  const { namespace = "", name } = object.metadata;
  const applied = await place.client.dynamic(kind).apply(
    {
      ...object,
      metadata: {
        ...object.metadata,
        name,
        labels: { ...labelsOf(object), [ARGOSY.headIngress]: "true" },
        ...(owners.length === 0 ? {} : { ownerReferences: [...owners] }),
      },
    },
    { fieldManager: MANAGER, force: true, namespace, ...(dryRun ? { dryRun } : {}) },
  );
  return jsonOf(applied);
}

function labelsOf(object: RenderedObject): JsonObject {
  const { labels } = object.metadata;
  return isObject(labels) ? toJsonObject(labels) : {};
}
