import type { ApiClient } from "../../kernel/client/types.js";
import { ApiError } from "../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../kernel/kinds/object.js";
import { asObjects, asString, isObject, toJsonObject } from "../../kernel/schema/index.js";
import {
  ClusterKind,
  changedFields,
  type FieldChange,
  HyperMLServiceKind,
  HyperRolloutKind,
  manifestsInForce,
  manifestsOf,
  previewOf,
  rolloutOf,
  specPartsOf,
  type WavePreview,
  WorkKind,
} from "../../modules/fleet/index.js";
import { parseJsonObject } from "../manifest/json.js";
import { loadManifests, type ManifestObject } from "../manifest/load.js";
import { renderDocument } from "../output/print.js";
import type { Terminal } from "../output/terminal.js";
import { type DryRun, dryRun, resolveManifest } from "../resource/apply.js";
import { discover } from "../resource/discovery.js";
import type { Session } from "../session.js";
import type { ShowFormat } from "./show.js";

const MAX_VALUE = 200;

export interface PlanOptions {
  readonly files: readonly string[];
  readonly namespace?: string;
  readonly output: ShowFormat;
}

/** What one object of a file would do. */
interface Planned {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly what: "create" | "change" | "nothing";
  /** Of other objects than HyperMLServices. */
  readonly fields?: readonly FieldChange[];
  readonly waves?: readonly WavePreview[];
  readonly rollout?: string;
}

/** `argosy plan`: what applying files would change, cluster by cluster for HyperMLServices. Asks the server, which checks and completes; changes nothing. */
export async function showPlan(session: Session, options: PlanOptions, terminal: Terminal): Promise<void> {
  const manifest = await loadManifests(options.files, () => terminal.readStdin());
  for (const warning of manifest.warnings) terminal.err(`warning: ${warning}\n`);
  const { runs, unchecked } = await runAll(session, manifest.objects, options.namespace);
  for (const namespace of unchecked)
    terminal.err(
      `warning: namespace ${namespace} is made by these files: the server cannot check what comes into it yet\n`,
    );
  const rollouts = runs.flatMap(({ run }) => (run.after["kind"] === HyperRolloutKind.kind ? [run.after] : []));
  const planned: Planned[] = [];
  for (const { object, run } of runs)
    planned.push(
      object.kind === HyperMLServiceKind.kind ? await planHyper(session.client, run, rollouts) : planOther(object, run),
    );
  if (options.output !== "table") {
    terminal.out(renderDocument(toJsonObject({ plan: planned }), options.output));
    return;
  }
  terminal.out(planned.map(render).join("\n"));
}

interface Run {
  readonly object: ManifestObject;
  readonly run: DryRun;
}

/** What the server would make of each object. What comes into a namespace that the same files make first is taken as it is written: the server takes nothing there yet. */
async function runAll(
  session: Session,
  objects: readonly ManifestObject[],
  given: string | undefined,
): Promise<{ readonly runs: readonly Run[]; readonly unchecked: ReadonlySet<string> }> {
  const made = new Set<string>();
  const unchecked = new Set<string>();
  const runs: Run[] = [];
  const served = await discover(session.client);
  for (const object of objects) {
    const place = given ?? session.namespace;
    const { resource } = resolveManifest(object, served, place);
    const namespace = object.namespace ?? place;
    if (resource.namespaced && made.has(namespace)) {
      unchecked.add(namespace);
      const metadata = { ...parseJsonObject(object.object["metadata"]), namespace };
      runs.push({ object, run: { before: undefined, after: { ...object.object, metadata } } });
      continue;
    }
    const run = await dryRun(session, object, given);
    if (object.apiVersion === "v1" && object.kind === "Namespace" && run.before === undefined) made.add(object.name);
    runs.push({ object, run });
  }
  return { runs, unchecked };
}

function planOther(object: ManifestObject, { before, after }: DryRun): Planned {
  const fields = before === undefined ? [] : changedFields(before, after);
  const what = before === undefined ? "create" : fields.length === 0 ? "nothing" : "change";
  return { kind: object.kind, namespace: placeOf(after).namespace, name: object.name, what, fields };
}

async function planHyper(
  client: ApiClient,
  { before, after }: DryRun,
  inFile: readonly JsonObject[],
): Promise<Planned> {
  const { namespace, name } = placeOf(after);
  const next = specPartsOf(after);
  const standing = before === undefined ? undefined : specPartsOf(before);
  const uid = before === undefined ? "" : placeOf(before).uid;
  const inForce =
    standing === undefined
      ? new Map<string, JsonObject[]>()
      : await client
          .resource(WorkKind)
          .list({ labelSelector: `argosy.dev/hypermlservice-uid=${uid}` })
          // Who may not see Works is shown what was asked for before.
          .then(({ items }) => manifestsInForce(items), orIfForbidden(manifestsOf(standing)));
  const clusters = await client
    .resource(ClusterKind)
    .list()
    .then(({ items }) => items, orIfForbidden([]));
  const rollout = await rolloutFor(client, { namespace, name }, inFile);
  const waves = previewOf(next, inForce, {
    waves: rollout?.waves,
    labelsOf: (cluster) => clusters.find(({ metadata }) => metadata.name === cluster)?.metadata.labels,
  });
  const isSame = waves.every((wave) => wave.clusters.every(({ changes }) => changes.length === 0));
  const what = before === undefined ? "create" : isSame ? "nothing" : "change";
  return {
    kind: HyperMLServiceKind.kind,
    namespace,
    name,
    what,
    waves,
    ...(rollout === undefined ? {} : { rollout: rollout.name }),
  };
}

function orIfForbidden<T>(other: T): (error: unknown) => T {
  return (error) => {
    if (error instanceof ApiError && error.httpCode === 403) return other;
    throw error;
  };
}

/** The waves by which it would be rolled out: as the same files say, else as the hub has it. */
async function rolloutFor(
  client: ApiClient,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  inFile: readonly JsonObject[],
): Promise<
  { readonly name: string; readonly waves: NonNullable<Parameters<typeof previewOf>[2]["waves"]> } | undefined
> {
  const { items } = await client.resource(HyperRolloutKind).list({ namespace });
  const standing = rolloutOf(namespace, name, items);
  const written = inFile.find((object) => {
    const spec = isObject(object["spec"]) ? object["spec"] : {};
    const reference = isObject(spec["hyperMLServiceRef"]) ? spec["hyperMLServiceRef"] : {};
    return placeOf(object).namespace === namespace && reference["name"] === name;
  });
  const spec = written === undefined ? standing?.spec : isObject(written["spec"]) ? written["spec"] : {};
  if (spec === undefined) return undefined;
  const waves = asObjects(spec.waves).map(readWave);
  return { name: written === undefined ? (standing?.metadata.name ?? "") : placeOf(written).name, waves };
}

/** A wave as the server completed and checked it. */
function readWave(wave: JsonObject): NonNullable<Parameters<typeof previewOf>[2]["waves"]>[number] {
  const { name, clusters, selector, count, approval } = wave;
  const labels = isObject(selector) && isObject(selector["matchLabels"]) ? selector["matchLabels"] : {};
  const expressions = isObject(selector) ? asObjects(selector["matchExpressions"]) : [];
  return {
    name: typeof name === "string" ? name : "",
    ...(Array.isArray(clusters) ? { clusters: clusters.map(String) } : {}),
    ...(isObject(selector)
      ? {
          selector: {
            matchLabels: Object.fromEntries(Object.entries(labels).map(([key, value]) => [key, asString(value)])),
            matchExpressions: expressions.flatMap(({ key, operator, values }) => {
              const known = (["In", "NotIn", "Exists", "DoesNotExist"] as const).find((one) => one === operator);
              if (typeof key !== "string" || known === undefined) return [];
              return [{ key, operator: known, ...(Array.isArray(values) ? { values: values.map(String) } : {}) }];
            }),
          },
        }
      : {}),
    ...(typeof count === "number" || typeof count === "string" ? { count } : {}),
    ...(approval === true ? { approval } : {}),
  };
}

function placeOf(object: JsonObject): { readonly namespace: string; readonly name: string; readonly uid: string } {
  const metadata = isObject(object["metadata"]) ? object["metadata"] : {};
  return {
    namespace: asString(metadata["namespace"]),
    name: asString(metadata["name"]),
    uid: asString(metadata["uid"]),
  };
}

function render({ kind, namespace, name, what, fields = [], waves, rollout }: Planned): string {
  const title = `${kind} ${namespace === "" ? "" : `${namespace}/`}${name}`;
  const verb = { create: "is created", change: "changes", nothing: "does not change" }[what];
  if (waves === undefined)
    return [`${title} ${verb}`, ...fields.map((field) => `  ${renderField(field)}`), ""].join("\n");
  const changed = waves.flatMap(({ clusters }) => clusters).filter(({ changes }) => changes.length > 0).length;
  const total = waves.flatMap(({ clusters }) => clusters).length;
  const how = rollout === undefined ? "all clusters at once" : `in the waves of HyperRollout ${rollout}`;
  const lines = [`${title} ${verb}${what === "nothing" ? "" : `: ${changed} of ${total} clusters, ${how}`}`];
  if (what !== "nothing") lines.push(...renderWaves(waves, rollout));
  return `${lines.join("\n")}\n`;
}

function renderWaves(waves: NonNullable<Planned["waves"]>, rollout: string | undefined): string[] {
  const lines: string[] = [];
  for (const wave of waves) {
    if (rollout !== undefined)
      lines.push(
        `wave ${wave.name}${wave.needsApproval ? " (when it is promoted)" : ""}: ${wave.clusters.map(({ cluster }) => cluster).join(", ")}`,
      );
    for (const { cluster, changes } of wave.clusters) {
      lines.push(`  ${cluster}${changes.length === 0 ? ": nothing changes" : ""}`);
      lines.push(...renderChanges(changes).map((line) => `    ${line}`));
    }
  }
  return lines;
}

/** Objects of a cluster that come, change or go, for people. */
export function renderChanges(changes: WavePreview["clusters"][number]["changes"]): string[] {
  return changes.flatMap(({ what, kind, namespace, name, fields }) => [
    `${{ add: "+", change: "~", remove: "-" }[what]} ${kind} ${namespace === "" ? "" : `${namespace}/`}${name}`,
    ...fields.map((field) => `    ${renderField(field)}`),
  ]);
}

function renderField({ path, before, after }: FieldChange): string {
  if (before === undefined) return `${path}: + ${shown(after)}`;
  return after === undefined ? `${path}: - ${shown(before)}` : `${path}: ${shown(before)} → ${shown(after)}`;
}

function shown(value: Json | undefined): string {
  if (value === "(redacted)") return value;
  const text = JSON.stringify(value) ?? "";
  return text.length <= MAX_VALUE ? text : `${text.slice(0, MAX_VALUE)}… (${text.length} characters)`;
}
