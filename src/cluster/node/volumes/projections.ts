import type { ApiClient } from "../../../kernel/client/index.js";
import type { Json, Volume } from "../../../kernel/kinds/index.js";
import { NodeError } from "../errors.js";
import { type DownwardContext, fieldValue, resourceValue } from "../pods/env.js";
import type { PayloadFile } from "./payload.js";
import type { ObjectSources } from "./sources.js";

/** What a volume's files are made from. */
export interface ProjectionContext extends DownwardContext {
  readonly sources: ObjectSources;
  readonly client: ApiClient;
  readonly nowMs: number;
  /** Tokens of this pod that are still good, by what they are for. */
  readonly tokens: Map<string, BoundToken>;
}

/** A service account token and when to replace it. */
export interface BoundToken {
  readonly token: string;
  readonly renewAtMs: number;
}

/** The files of a volume, and when a token in them has to be renewed. */
export interface Projection {
  readonly files: readonly PayloadFile[];
  readonly renewAtMs?: number;
}

type Projected = NonNullable<Volume["projected"]>;
type ProjectedSource = NonNullable<Projected["sources"]>[number];
type Items = readonly { readonly key: string; readonly path: string; readonly mode?: number }[];

const defaultFileMode = 0o644;
const minRenewMs = 30_000;

/** The files of a configMap, secret, downwardAPI or projected volume; `undefined` for other volumes. */
export async function projectVolume(volume: Volume, context: ProjectionContext): Promise<Projection | undefined> {
  if (volume.configMap !== undefined) {
    const { name = "", items, optional, defaultMode } = volume.configMap;
    return { files: await objectFiles("configmap", { name, items, optional, mode: defaultMode }, context) };
  }
  if (volume.secret !== undefined) {
    const { secretName = "", items, optional, defaultMode } = volume.secret;
    return { files: await objectFiles("secret", { name: secretName, items, optional, mode: defaultMode }, context) };
  }
  if (volume.downwardAPI !== undefined) {
    return { files: downwardFiles(volume.downwardAPI.items ?? [], volume.downwardAPI.defaultMode, context) };
  }
  return volume.projected === undefined ? undefined : projectAll(volume.projected, context);
}

/** The configMaps and secrets that a volume shows. */
export function referencesOf(volume: Volume): { kind: "configmap" | "secret"; name: string }[] {
  const sources: readonly ProjectedSource[] = volume.projected?.sources ?? [];
  const configMaps = [volume.configMap?.name, ...sources.map((each) => each.configMap?.name)];
  const secrets = [volume.secret?.secretName, ...sources.map((each) => each.secret?.name)];
  return [
    ...configMaps.flatMap((name) => (name === undefined ? [] : [{ kind: "configmap" as const, name }])),
    ...secrets.flatMap((name) => (name === undefined ? [] : [{ kind: "secret" as const, name }])),
  ];
}

interface ObjectRequest {
  readonly name: string;
  readonly items: Items | undefined;
  readonly optional: boolean | undefined;
  readonly mode: number | undefined;
}

async function objectFiles(
  kind: "configmap" | "secret",
  request: ObjectRequest,
  context: ProjectionContext,
): Promise<PayloadFile[]> {
  const namespace = context.pod.metadata.namespace ?? "default";
  const data = await context.sources.data(kind, namespace, request.name);
  const mode = request.mode ?? defaultFileMode;
  if (data === undefined) {
    if (request.optional === true) return [];
    throw new NodeError("FailedMount", `${kind} "${request.name}" not found`);
  }
  if (request.items === undefined) return [...data].map(([path, content]) => ({ path, content, mode }));
  return request.items.flatMap((item) => {
    const content = data.get(item.key);
    if (content !== undefined) return [{ path: safePath(item.path), content, mode: item.mode ?? mode }];
    if (request.optional === true) return [];
    throw new NodeError("FailedMount", `${kind} references non-existent config key: ${item.key}`);
  });
}

type DownwardItems = NonNullable<NonNullable<Volume["downwardAPI"]>["items"]>;

function downwardFiles(
  items: DownwardItems,
  defaultMode: number | undefined,
  context: ProjectionContext,
): PayloadFile[] {
  return items.map((item) => {
    const text =
      item.fieldRef !== undefined
        ? fieldValue(item.fieldRef.fieldPath, context)
        : item.resourceFieldRef !== undefined
          ? resourceValue(item.resourceFieldRef, context)
          : "";
    return { path: safePath(item.path), content: Buffer.from(text), mode: item.mode ?? defaultMode ?? defaultFileMode };
  });
}

async function projectAll(projected: Projected, context: ProjectionContext): Promise<Projection> {
  const files: PayloadFile[] = [];
  let renewAtMs: number | undefined;
  const mode = projected.defaultMode;
  for (const source of projected.sources ?? []) {
    if (source.configMap !== undefined) {
      const { name = "", items, optional } = source.configMap;
      files.push(...(await objectFiles("configmap", { name, items, optional, mode }, context)));
    }
    if (source.secret !== undefined) {
      const { name = "", items, optional } = source.secret;
      files.push(...(await objectFiles("secret", { name, items, optional, mode }, context)));
    }
    if (source.downwardAPI !== undefined) files.push(...downwardFiles(source.downwardAPI.items ?? [], mode, context));
    if (source.serviceAccountToken !== undefined) {
      const token = await requestToken(source.serviceAccountToken, context);
      files.push({
        path: safePath(source.serviceAccountToken.path),
        content: Buffer.from(token.token),
        mode: mode ?? defaultFileMode,
      });
      renewAtMs = Math.min(renewAtMs ?? Number.POSITIVE_INFINITY, token.renewAtMs);
    }
    const known = ["configMap", "secret", "downwardAPI", "serviceAccountToken"];
    const other = Object.keys(source).find((kind) => !known.includes(kind));
    if (other !== undefined) throw new NodeError("FailedMount", `${other} projections are not supported by this node`);
  }
  return { files, ...(renewAtMs === undefined ? {} : { renewAtMs }) };
}

type TokenSource = NonNullable<ProjectedSource["serviceAccountToken"]>;

/** A token bound to the pod; renewed when four fifths of its life are over, at the latest after a day. */
async function requestToken(source: TokenSource, context: ProjectionContext): Promise<BoundToken> {
  const key = `${source.audience ?? ""}/${source.expirationSeconds ?? ""}`;
  const known = context.tokens.get(key);
  if (known !== undefined && known.renewAtMs > context.nowMs) return known;
  const fresh = await askForToken(source, context);
  context.tokens.set(key, fresh);
  return fresh;
}

async function askForToken(source: TokenSource, context: ProjectionContext): Promise<BoundToken> {
  const { pod, client, nowMs } = context;
  const namespace = pod.metadata.namespace ?? "default";
  const account = pod.spec.serviceAccountName ?? "default";
  const lifeSeconds = source.expirationSeconds ?? 3600;
  const spec: { [field: string]: Json } = {
    expirationSeconds: lifeSeconds,
    boundObjectRef: { apiVersion: "v1", kind: "Pod", name: pod.metadata.name, uid: pod.metadata.uid },
  };
  if (source.audience !== undefined && source.audience !== "") spec["audiences"] = [source.audience];
  const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec };
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/serviceaccounts/${encodeURIComponent(account)}/token`;
  const answer = await client.json("POST", path, body);
  const status = objectAt(objectAt(answer)["status"]);
  const token = status["token"];
  if (typeof token !== "string")
    throw new NodeError("FailedMount", `no token for service account ${namespace}/${account}`);
  const expires = status["expirationTimestamp"];
  const expiresMs = typeof expires === "string" ? Date.parse(expires) : nowMs + lifeSeconds * 1000;
  const lifeMs = Math.max(0, expiresMs - nowMs);
  return { token, renewAtMs: nowMs + Math.max(minRenewMs, Math.min(lifeMs * 0.8, 24 * 3600_000)) };
}

function objectAt(value: Json | undefined): { [field: string]: Json | undefined } {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

function safePath(path: string): string {
  if (path.startsWith("/") || path.split("/").includes("..")) {
    throw new NodeError("FailedMount", `the path "${path}" of a volume's item must be relative and stay inside`);
  }
  return path;
}
