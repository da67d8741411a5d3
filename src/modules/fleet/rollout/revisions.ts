import { createHash } from "node:crypto";
import type { ApiClient } from "../../../kernel/client/index.js";
import { ownerReferenceTo, type ReconcileContext } from "../../../kernel/control/index.js";
import { InputError, isAlreadyExists, isNotFound } from "../../../kernel/errors/index.js";
import {
  type ControllerRevision,
  ControllerRevisionKind,
  type Json,
  type JsonObject,
} from "../../../kernel/kinds/index.js";
import { asObjects, asString, cloneObject, isObject, toJson, toJsonObject } from "../../../kernel/schema/index.js";
import type { SpecParts } from "../hyper-plan.js";
import type { HyperMLService } from "../kinds.js";
import { ARGOSY } from "../names.js";
import { type RevisionContents, RevisionContentsKind } from "./contents-kind.js";

const NAME = "hypermlservice-controller";
const OWNER_INDEX = "revision-of";
const MAX_KEPT = 200;

type Context = ReconcileContext<HyperMLService>;
type Workloads = SpecParts["workloads"];

/** Which revision. */
export interface RevisionRef {
  readonly name: string;
  /** The newest has the highest; content that comes back gets a new number. */
  readonly number: number;
}

/**
 * Immutable snapshots of HyperMLServices' specs: an apps/v1 ControllerRevision for each content that was asked for. Contents of Secrets are
 * kept beside it, in a RevisionContents of the same name.
 */
export class RevisionStore {
  /** By uid of the HyperMLService: what its generation comes to. */
  readonly #names = new Map<string, { readonly generation: number; readonly name: string }>();
  /** By uid of the ControllerRevision. */
  readonly #loaded = new Map<string, Workloads>();
  /** Made here and perhaps not in the informer yet, by uid of the HyperMLService. */
  readonly #made = new Map<string, RevisionRef>();

  /** Name that the present spec's revision has or will have. */
  nameOf(object: HyperMLService): string {
    const { uid, generation = 0, name } = object.metadata;
    const known = this.#names.get(uid);
    if (known?.generation === generation) return known.name;
    const text = JSON.stringify(sorted(toJson(object.spec.workloads)));
    const hash = createHash("sha256").update(text).digest("hex").slice(0, 10);
    const revision = `${name.slice(0, 200)}-${hash}`;
    this.#names.set(uid, { generation, name: revision });
    return revision;
  }

  /** Those of one HyperMLService, the newest first. */
  list(object: HyperMLService, context: Pick<Context, "cluster">): readonly ControllerRevision[] {
    const informer = context.cluster.informers.informer(ControllerRevisionKind);
    informer.addIndex(OWNER_INDEX, (revision) => [revision.metadata.labels?.[ARGOSY.ownerUid] ?? ""]);
    return [...informer.byIndex(OWNER_INDEX, object.metadata.uid)].sort((a, b) => b.revision - a.revision);
  }

  /** Makes the revision of the present spec, or brings it to the front again. */
  async ensure(object: HyperMLService, context: Context): Promise<RevisionRef> {
    const name = this.nameOf(object);
    const { uid } = object.metadata;
    const all = this.list(object, context);
    const made = this.#made.get(uid);
    const newest = all[0];
    if (newest?.metadata.name === name && (made === undefined || made.number <= newest.revision)) {
      this.#made.delete(uid);
      return { name, number: newest.revision };
    }
    if (made?.name === name) return made;
    const number = Math.max(newest?.revision ?? 0, made?.number ?? 0) + 1;
    const existing = all.find((revision) => revision.metadata.name === name);
    const ref =
      existing === undefined
        ? await this.#create(object, { name, number }, context)
        : await this.#renumber(existing, number, context);
    this.#made.set(uid, ref);
    return ref;
  }

  /** The workloads of a revision, whole. Undefined when it is gone. */
  async load(object: HyperMLService, name: string, context: Pick<Context, "cluster">): Promise<Workloads | undefined> {
    const namespace = object.metadata.namespace ?? "";
    const { client, informers } = context.cluster;
    const revision =
      informers.informer(ControllerRevisionKind).get({ namespace, name }) ??
      (await client.resource(ControllerRevisionKind).find(name, { namespace }));
    if (revision === undefined || revision.metadata.labels?.[ARGOSY.ownerUid] !== object.metadata.uid) return undefined;
    const known = this.#loaded.get(revision.metadata.uid);
    if (known !== undefined) return known;
    const workloads = await readRevision(client, revision);
    if (workloads === undefined) return undefined;
    if (this.#loaded.size >= MAX_KEPT) this.#loaded.clear();
    this.#loaded.set(revision.metadata.uid, workloads);
    return workloads;
  }

  /** Removes the oldest beyond `limit`, but none of `used`. */
  async prune(object: HyperMLService, used: ReadonlySet<string>, limit: number, context: Context): Promise<void> {
    const unused = this.list(object, context).filter((revision) => !used.has(revision.metadata.name));
    for (const revision of unused.slice(limit)) await this.#delete(revision, context);
  }

  /** Removes all of an object that goes. */
  async forget(object: HyperMLService, context: Context): Promise<void> {
    for (const revision of this.list(object, context)) await this.#delete(revision, context);
    this.#names.delete(object.metadata.uid);
    this.#made.delete(object.metadata.uid);
  }

  async #create(object: HyperMLService, ref: RevisionRef, context: Context): Promise<RevisionRef> {
    const { client } = context.cluster;
    const { namespace = "", uid, name: owner, annotations } = object.metadata;
    const { shown, hidden } = splitSecrets(object.spec.workloads.map(toJsonObject));
    const cause = annotations?.["kubernetes.io/change-cause"];
    const metadata = {
      name: ref.name,
      namespace,
      labels: { [ARGOSY.ownerUid]: uid, [ARGOSY.ownerName]: owner },
      ownerReferences: [ownerReferenceTo(object)],
    };
    const options = { namespace, fieldManager: NAME };
    if (hidden.length > 0) {
      const { group, version, kind } = RevisionContentsKind;
      const contents = { apiVersion: `${group}/${version}`, kind, metadata, spec: { secrets: hidden } };
      await client.resource(RevisionContentsKind).create(contents, options).catch(unlessThere);
    }
    try {
      await client.resource(ControllerRevisionKind).create(
        {
          apiVersion: "apps/v1",
          kind: "ControllerRevision",
          metadata: {
            ...metadata,
            ...(cause === undefined ? {} : { annotations: { "kubernetes.io/change-cause": cause } }),
          },
          revision: ref.number,
          data: { workloads: shown, hasSecrets: hidden.length > 0 },
        },
        options,
      );
      return ref;
    } catch (error) {
      unlessThere(error);
      const standing = await client.resource(ControllerRevisionKind).get(ref.name, { namespace });
      if (standing.metadata.labels?.[ARGOSY.ownerUid] === uid) return { name: ref.name, number: standing.revision };
      throw new InputError(`ControllerRevision ${namespace}/${ref.name} exists and is not ours: it is left alone`);
    }
  }

  async #renumber(revision: ControllerRevision, number: number, context: Context): Promise<RevisionRef> {
    const { name, namespace = "" } = revision.metadata;
    const options = { namespace, fieldManager: NAME };
    await context.cluster.client.resource(ControllerRevisionKind).patch(name, "merge", { revision: number }, options);
    return { name, number };
  }

  async #delete(revision: ControllerRevision, context: Context): Promise<void> {
    const { name, namespace = "" } = revision.metadata;
    this.#loaded.delete(revision.metadata.uid);
    const ignore = (error: unknown): void => {
      if (!isNotFound(error)) throw error;
    };
    if (toJsonObject(revision.data ?? {})["hasSecrets"] === true)
      await context.cluster.client.resource(RevisionContentsKind).delete(name, { namespace }).catch(ignore);
    await context.cluster.client.resource(ControllerRevisionKind).delete(name, { namespace }).catch(ignore);
  }
}

/** The workloads of a revision, with what its Secrets hold; undefined when that is gone. */
export async function readRevision(client: ApiClient, revision: ControllerRevision): Promise<Workloads | undefined> {
  const { name, namespace = "" } = revision.metadata;
  const data = toJsonObject(revision.data ?? {});
  if (data["hasSecrets"] !== true) return joinSecrets(data, []);
  const contents = await client.resource(RevisionContentsKind).find(name, { namespace });
  return contents === undefined ? undefined : joinSecrets(data, contents.spec.secrets);
}

type Hidden = RevisionContents["spec"]["secrets"][number];

/** Takes what Secrets hold out of workloads. */
function splitSecrets(workloads: readonly JsonObject[]): {
  readonly shown: JsonObject[];
  readonly hidden: Hidden[];
} {
  const hidden: Hidden[] = [];
  const shown = workloads.map((workload, w) => {
    const copy = cloneObject(workload);
    copy["manifests"] = asObjects(copy["manifests"]).map((manifest, m) => {
      if (manifest["kind"] !== "Secret" || manifest["apiVersion"] !== "v1") return manifest;
      const { data, stringData, ...rest } = manifest;
      const fields = { ...(data === undefined ? {} : { data }), ...(stringData === undefined ? {} : { stringData }) };
      if (Object.keys(fields).length > 0) hidden.push({ workload: w, manifest: m, fields });
      return rest;
    });
    return copy;
  });
  return { shown, hidden };
}

function joinSecrets(data: JsonObject, hidden: readonly Hidden[]): Workloads {
  return asObjects(data["workloads"]).map((workload, w) => ({
    clusters: (Array.isArray(workload["clusters"]) ? workload["clusters"] : []).map(asString),
    manifests: asObjects(workload["manifests"]).map((manifest, m) => {
      const own = hidden.find((one) => one.workload === w && one.manifest === m)?.fields;
      return { ...manifest, ...own };
    }),
  }));
}

/** The same text for the same content, whatever the order of fields. */
function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .flatMap((key) => (value[key] === undefined ? [] : [[key, sorted(value[key])]])),
  );
}

function unlessThere(error: unknown): void {
  if (!isAlreadyExists(error)) throw error;
}
