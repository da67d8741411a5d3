import { sql } from "kysely";
import type { JsonObject } from "../../kernel/kinds/object.js";
import type { Db, Endpoint, TrackingContext } from "./context.js";
import { badValue, invalid } from "./errors.js";
import type { Params } from "./params.js";
import { toPythonFloat, toPythonQuoted } from "./python-text.js";
import { checkKey, checkLength, LIMITS, truncate } from "./rules.js";
import { activeRun, RUN_NAME_TAG, runIdOf } from "./run-rows.js";

/** A point to be logged, checked. */
interface Point {
  readonly key: string;
  readonly timestamp_ms: number;
  readonly step: number;
  readonly value: number;
  readonly is_nan: number;
  readonly model_id: string;
  readonly dataset_name: string;
  readonly dataset_digest: string;
}

interface KeyValue {
  readonly key: string;
  readonly value: string;
}

/** Calls that log metrics, parameters and tags. */
export function runDataEndpoints({ tables }: TrackingContext): Endpoint[] {
  const write = (path: string, call: (db: Db, params: Params) => Promise<JsonObject>): Endpoint => ({
    method: "POST",
    path: `runs/${path}`,
    verb: "update",
    resource: "runs",
    call: (params) => tables.write((db) => call(db, params)),
  });
  return [
    write("log-metric", logMetric),
    write("log-parameter", logParameter),
    write("set-tag", setTag),
    { ...write("log-batch", logBatch), maxBodyBytes: 4 * 1024 * 1024 },
  ];
}

async function logMetric(db: Db, params: Params): Promise<JsonObject> {
  const id = runIdOf(params);
  const point = readPoint(params, "");
  const run = await activeRun(db, id);
  await writePoints(db, run.id, [point]);
  return {};
}

async function logParameter(db: Db, params: Params): Promise<JsonObject> {
  const id = runIdOf(params);
  const parameter = { key: params.requiredText("key"), value: truncate(params.text("value") ?? "", LIMITS.paramValue) };
  checkKey(parameter.key, "key");
  checkLength("Param key", parameter.key, LIMITS.key);
  const run = await activeRun(db, id);
  const old = await parametersOf(db, run.id, [parameter.key]);
  const known = old.get(parameter.key);
  if (known !== undefined && known !== parameter.value) {
    throw invalid(
      `Changing param values is not allowed. Param with key='${parameter.key}' was already logged with value='${known}' ` +
        `for run ID='${run.id}'. Attempted logging new value '${parameter.value}'.`,
    );
  }
  if (known === undefined)
    await db
      .insertInto("tracking_params")
      .values({ run_id: run.id, ...parameter })
      .execute();
  return {};
}

async function setTag(db: Db, params: Params): Promise<JsonObject> {
  const id = runIdOf(params);
  const tag = { key: params.requiredText("key"), value: truncate(params.text("value") ?? "", LIMITS.runTagValue) };
  checkKey(tag.key, "key");
  checkLength("key", tag.key, LIMITS.key);
  const run = await activeRun(db, id);
  await setRunTag(db, run.id, tag);
  return {};
}

async function logBatch(db: Db, params: Params): Promise<JsonObject> {
  const id = runIdOf(params);
  const metrics = params.objects("metrics").map((metric, index) => readPoint(metric, `metrics[${index}].`));
  const parameters = params
    .objects("params")
    .map((p, index) => readKeyValue(p, { path: `params[${index}].`, label: "Param key", limit: LIMITS.paramValue }));
  const tags = params
    .objects("tags")
    .map((t, index) => readKeyValue(t, { path: `tags[${index}].`, limit: LIMITS.runTagValue }));
  checkBatchSize(metrics.length, parameters.length, tags.length);
  checkUniqueKeys(parameters);
  const run = await activeRun(db, id);
  await writeParameters(db, run.id, parameters);
  await writePoints(db, run.id, metrics);
  for (const tag of tags) await setRunTag(db, run.id, tag);
  return {};
}

function readPoint(params: Params, path: string): Point {
  const key = params.requiredText("key");
  const value = params.requiredNumber("value");
  const timestamp = params.requiredInteger("timestamp");
  const step = params.integer("step") ?? 0;
  checkKey(key, `${path}name`);
  checkLength("Metric name", key, LIMITS.key);
  if (timestamp < 0) {
    const why = `metric '${key}' (value=${toPythonFloat(value)}). Timestamp must be a nonnegative long (64-bit integer) `;
    throw badValue(`${path}timestamp`, timestamp, why);
  }
  const isNan = Number.isNaN(value);
  return {
    key,
    timestamp_ms: timestamp,
    step,
    // Databases and JSON have no infinity; the largest number stands for it.
    value: isNan ? 0 : Math.max(-Number.MAX_VALUE, Math.min(value, Number.MAX_VALUE)),
    is_nan: isNan ? 1 : 0,
    model_id: params.text("model_id") ?? "",
    dataset_name: params.text("dataset_name") ?? "",
    dataset_digest: params.text("dataset_digest") ?? "",
  };
}

function readKeyValue(
  params: Params,
  { path, label, limit }: { path: string; label?: string; limit: number },
): KeyValue {
  const key = params.requiredText("key");
  checkKey(key, `${path}key`);
  checkLength(label ?? `${path}key`, key, LIMITS.key);
  return { key, value: truncate(params.looseText("value"), limit) };
}

function checkBatchSize(metrics: number, parameters: number, tags: number): void {
  const refuse = (things: string, limit: number, count: number): void => {
    if (count <= limit) return;
    throw invalid(
      `A batch logging request can contain at most ${limit} ${things}. Got ${count} ${things}. ` +
        `Please split up ${things} across multiple requests and try again.`,
    );
  };
  refuse("metrics", LIMITS.batchMetrics, metrics);
  refuse("params", LIMITS.batchParamsOrTags, parameters);
  refuse("tags", LIMITS.batchParamsOrTags, tags);
  refuse("metrics, params, and tags", LIMITS.batchEntities, metrics + parameters + tags);
}

function checkUniqueKeys(parameters: readonly KeyValue[]): void {
  const seen = new Set<string>();
  const twice = new Set<string>();
  for (const { key } of parameters) {
    if (seen.has(key)) twice.add(key);
    seen.add(key);
  }
  if (twice.size === 0) return;
  const list = [...twice].map(toPythonQuoted).join(", ");
  throw invalid(
    `Duplicate parameter keys have been submitted: [${list}]. Please ensure the request contains only one param value per param key.`,
  );
}

async function parametersOf(db: Db, runId: string, keys: readonly string[]): Promise<Map<string, string>> {
  if (keys.length === 0) return new Map();
  const rows = await db
    .selectFrom("tracking_params")
    .select(["key", "value"])
    .where("run_id", "=", runId)
    .where("key", "in", keys)
    .execute();
  return new Map(rows.map(({ key, value }) => [key, value]));
}

async function writeParameters(db: Db, runId: string, parameters: readonly KeyValue[]): Promise<void> {
  const old = await parametersOf(
    db,
    runId,
    parameters.map((p) => p.key),
  );
  const changed = parameters.filter(({ key, value }) => (old.get(key) ?? value) !== value);
  if (changed.length > 0) {
    const list = changed.map(
      ({ key, value }) =>
        `{'key': ${toPythonQuoted(key)}, 'old_value': ${toPythonQuoted(old.get(key) ?? "")}, 'new_value': ${toPythonQuoted(value)}}`,
    );
    throw invalid(
      `Changing param values is not allowed. Params were already logged='[${list.join(", ")}]' for run ID='${runId}'.`,
    );
  }
  const fresh = parameters.filter(({ key }) => !old.has(key)).map((parameter) => ({ run_id: runId, ...parameter }));
  if (fresh.length > 0) await db.insertInto("tracking_params").values(fresh).execute();
}

/** Sets one tag; the tag of the run's name renames it. */
export async function setRunTag(db: Db, runId: string, { key, value }: KeyValue): Promise<void> {
  // A run always has a name.
  if (key === RUN_NAME_TAG && value === "") return;
  await db
    .insertInto("tracking_run_tags")
    .values({ run_id: runId, key, value })
    .onConflict((conflict) => conflict.columns(["run_id", "key"]).doUpdateSet({ value }))
    .execute();
  if (key === RUN_NAME_TAG)
    await db.updateTable("tracking_runs").set({ name: value }).where("id", "=", runId).execute();
}

async function writePoints(db: Db, runId: string, points: readonly Point[]): Promise<void> {
  if (points.length === 0) return;
  const rows = points.map(({ key, timestamp_ms, step, value, is_nan }) => ({
    run_id: runId,
    key,
    timestamp_ms,
    step,
    value,
    is_nan,
  }));
  for (let start = 0; start < rows.length; start += 200) {
    await db
      .insertInto("tracking_metrics")
      .values(rows.slice(start, start + 200))
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  }
  for (const latest of latestOf(rows)) {
    await db
      .insertInto("tracking_latest_metrics")
      .values(latest)
      .onConflict((conflict) =>
        conflict
          .columns(["run_id", "key"])
          .doUpdateSet({
            timestamp_ms: latest.timestamp_ms,
            step: latest.step,
            value: latest.value,
            is_nan: latest.is_nan,
          })
          .where(
            sql<boolean>`(excluded.step, excluded.timestamp_ms, excluded.value) >
              (tracking_latest_metrics.step, tracking_latest_metrics.timestamp_ms, tracking_latest_metrics.value)`,
          ),
      )
      .execute();
  }
  const ofModels = points.filter((point) => point.model_id !== "").map((point) => ({ ...point, run_id: runId }));
  if (ofModels.length > 0) {
    await db
      .insertInto("tracking_logged_model_metrics")
      .values(ofModels)
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  }
}

type PointRow = Pick<Point, "key" | "timestamp_ms" | "step" | "value" | "is_nan"> & { readonly run_id: string };

/** The newest point of each key: by step, then time, then value. */
function latestOf(rows: readonly PointRow[]): PointRow[] {
  const latest = new Map<string, PointRow>();
  for (const row of rows) {
    const known = latest.get(row.key);
    if (known === undefined || isNewer(row, known)) latest.set(row.key, row);
  }
  return [...latest.values()];
}

function isNewer(a: PointRow, b: PointRow): boolean {
  if (a.step !== b.step) return a.step > b.step;
  if (a.timestamp_ms !== b.timestamp_ms) return a.timestamp_ms > b.timestamp_ms;
  return a.value > b.value;
}
