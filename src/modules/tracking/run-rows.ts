import type { Selectable } from "kysely";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { type Db, groupBy, keyValues, unlessEmpty } from "./context.js";
import { invalid, missing, notFound } from "./errors.js";
import type { Params } from "./params.js";
import type { TrackingTables } from "./schema.js";
import { chunked } from "./sql.js";

export type RunRow = Selectable<TrackingTables["tracking_runs"]>;

/** The tag that carries a run's name; tag and name are always equal. */
export const RUN_NAME_TAG = "mlflow.runName";

/** Run states of the protocol, with their numbers. */
export const RUN_STATES = { RUNNING: 1, SCHEDULED: 2, FINISHED: 3, FAILED: 4, KILLED: 5 } as const;

/** The run that a call is about; older clients say `run_uuid`. */
export function runIdOf(params: Params): string {
  const id = params.text("run_id") ?? params.text("run_uuid") ?? "";
  if (id === "") throw missing("run_id");
  return id;
}

/** The run with this id, deleted or not; 404 when there is none. */
export async function runById(db: Db, id: string): Promise<RunRow> {
  const row = await db.selectFrom("tracking_runs").selectAll().where("id", "=", id).executeTakeFirst();
  if (row === undefined) throw notFound(`Run with id=${id} not found`);
  return row;
}

/** The run with this id, which must not be deleted. */
export async function activeRun(db: Db, id: string): Promise<RunRow> {
  const row = await runById(db, id);
  if (row.lifecycle !== "active") {
    throw invalid(`The run ${row.id} must be in the 'active' state. Current state is ${row.lifecycle}.`);
  }
  return row;
}

/** RunInfo. */
export function runInfoJson(row: RunRow): JsonObject {
  return {
    run_id: row.id,
    run_uuid: row.id,
    run_name: row.name,
    experiment_id: String(row.experiment_id),
    user_id: row.user_id,
    status: row.status,
    start_time: Number(row.start_ms),
    ...(row.end_ms === null ? {} : { end_time: Number(row.end_ms) }),
    artifact_uri: row.artifact_uri,
    lifecycle_stage: row.lifecycle,
  };
}

/** A value as the wire carries it: what JSON has no number for is text. */
export function metricValue(value: number, isNan: number): number | string {
  return isNan === 1 ? "NaN" : value;
}

/** Runs as the protocol shows them, with data, inputs and outputs. */
export async function runsJson(db: Db, rows: readonly RunRow[]): Promise<JsonObject[]> {
  const json: JsonObject[] = [];
  for (const part of chunked(rows)) json.push(...(await someRunsJson(db, part)));
  return json;
}

async function someRunsJson(db: Db, rows: readonly RunRow[]): Promise<JsonObject[]> {
  if (rows.length === 0) return [];
  const ids = rows.map((row) => row.id);
  const metrics = await db
    .selectFrom("tracking_latest_metrics")
    .selectAll()
    .where("run_id", "in", ids)
    .orderBy("key")
    .execute();
  const params = await db.selectFrom("tracking_params").selectAll().where("run_id", "in", ids).execute();
  const tags = await db.selectFrom("tracking_run_tags").selectAll().where("run_id", "in", ids).execute();
  const inputs = await inputsOf(db, ids);
  const outputs = await db
    .selectFrom("tracking_model_outputs")
    .selectAll()
    .where("run_id", "in", ids)
    .orderBy("step")
    .execute();
  const [metricsOf, paramsOf, tagsOf, outputsOf] = [
    groupBy(metrics, (m) => m.run_id),
    groupBy(params, (p) => p.run_id),
    groupBy(tags, (t) => t.run_id),
    groupBy(outputs, (o) => o.run_id),
  ];
  return rows.map((row) => ({
    info: runInfoJson(row),
    data: {
      ...unlessEmpty("metrics", (metricsOf.get(row.id) ?? []).map(metricJson)),
      ...unlessEmpty("params", keyValues(paramsOf.get(row.id))),
      ...unlessEmpty("tags", keyValues(tagsOf.get(row.id))),
    },
    inputs: inputs.get(row.id) ?? {},
    outputs: unlessEmpty(
      "model_outputs",
      (outputsOf.get(row.id) ?? []).map(({ model_id, step }) => ({ model_id, step: Number(step) })),
    ),
  }));
}

/** One point of a metric. */
export function metricJson(point: {
  key: string;
  value: number;
  is_nan: number;
  timestamp_ms: number;
  step: number;
}): JsonObject {
  const { key, value, is_nan, timestamp_ms, step } = point;
  return { key, value: metricValue(value, is_nan), timestamp: Number(timestamp_ms), step: Number(step) };
}

async function inputsOf(db: Db, runIds: readonly string[]): Promise<Map<string, JsonObject>> {
  const datasets = await db
    .selectFrom("tracking_inputs as i")
    .innerJoin("tracking_datasets as d", "d.id", "i.dataset_id")
    .selectAll("d")
    .select("i.run_id")
    .where("i.run_id", "in", runIds)
    .orderBy("d.name")
    .execute();
  const models = await db.selectFrom("tracking_model_inputs").selectAll().where("run_id", "in", runIds).execute();
  const tags =
    datasets.length === 0
      ? []
      : await db.selectFrom("tracking_input_tags").selectAll().where("run_id", "in", runIds).execute();
  const tagsOf = groupBy(tags, (tag) => `${tag.run_id}/${tag.dataset_id}`);
  const [datasetsOf, modelsOf] = [groupBy(datasets, (d) => d.run_id), groupBy(models, (m) => m.run_id)];
  return new Map(
    runIds.map((id) => [
      id,
      {
        ...unlessEmpty(
          "dataset_inputs",
          (datasetsOf.get(id) ?? []).map((d) => ({
            ...unlessEmpty("tags", keyValues(tagsOf.get(`${id}/${d.id}`))),
            dataset: {
              name: d.name,
              digest: d.digest,
              source_type: d.source_type,
              source: d.source,
              ...(d.schema_text === null ? {} : { schema: d.schema_text }),
              ...(d.profile === null ? {} : { profile: d.profile }),
            },
          })),
        ),
        ...unlessEmpty(
          "model_inputs",
          (modelsOf.get(id) ?? []).map(({ model_id }) => ({ model_id })),
        ),
      },
    ]),
  );
}
