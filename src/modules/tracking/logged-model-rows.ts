import type { Selectable } from "kysely";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { type Db, groupBy, keyValues, unlessEmpty } from "./context.js";
import { notFound } from "./errors.js";
import { metricJson } from "./run-rows.js";
import type { TrackingTables } from "./schema.js";
import { chunked } from "./sql.js";

export type LoggedModelRow = Selectable<TrackingTables["tracking_logged_models"]>;
type MetricRow = Selectable<TrackingTables["tracking_logged_model_metrics"]>;

/** States of a logged model, with their numbers. */
export const LOGGED_MODEL_STATES = {
  LOGGED_MODEL_PENDING: 1,
  LOGGED_MODEL_READY: 2,
  LOGGED_MODEL_UPLOAD_FAILED: 3,
} as const;

/** The logged model with this id; 404 when there is none, or it was deleted and that does not count. */
export async function loggedModelById(db: Db, id: string, { evenDeleted = false } = {}): Promise<LoggedModelRow> {
  const row = await db.selectFrom("tracking_logged_models").selectAll().where("id", "=", id).executeTakeFirst();
  if (row === undefined || (row.deleted === 1 && !evenDeleted))
    throw notFound(`Logged model with ID '${id}' not found.`);
  return row;
}

/** Logged models as the protocol shows them. */
export async function loggedModelsJson(db: Db, rows: readonly LoggedModelRow[]): Promise<JsonObject[]> {
  const json: JsonObject[] = [];
  for (const part of chunked(rows)) json.push(...(await someJson(db, part)));
  return json;
}

async function someJson(db: Db, rows: readonly LoggedModelRow[]): Promise<JsonObject[]> {
  if (rows.length === 0) return [];
  const ids = rows.map((row) => row.id);
  const idOf = (row: { model_id: string }): string => row.model_id;
  const params = groupBy(
    await db.selectFrom("tracking_logged_model_params").selectAll().where("model_id", "in", ids).execute(),
    idOf,
  );
  const tags = groupBy(
    await db.selectFrom("tracking_logged_model_tags").selectAll().where("model_id", "in", ids).execute(),
    idOf,
  );
  const points = await db
    .selectFrom("tracking_logged_model_metrics")
    .selectAll()
    .where("model_id", "in", ids)
    .orderBy("key")
    .orderBy("step")
    .orderBy("timestamp_ms")
    .execute();
  const metrics = groupBy(points, idOf);
  return rows.map((row) => ({
    info: {
      model_id: row.id,
      experiment_id: String(row.experiment_id),
      name: row.name,
      creation_timestamp_ms: Number(row.created_ms),
      last_updated_timestamp_ms: Number(row.updated_ms),
      artifact_uri: row.artifact_uri,
      status: row.status,
      model_type: row.model_type,
      source_run_id: row.source_run_id,
      ...unlessEmpty("tags", keyValues(tags.get(row.id))),
    },
    data: {
      ...unlessEmpty("params", keyValues(params.get(row.id))),
      ...unlessEmpty("metrics", latestPoints(metrics.get(row.id) ?? []).map(modelMetricJson)),
    },
  }));
}

/** The last point of each metric, by data set and run; points come in the order of steps. */
function latestPoints(points: readonly MetricRow[]): MetricRow[] {
  const latest = new Map(points.map((p) => [JSON.stringify([p.key, p.dataset_name, p.dataset_digest, p.run_id]), p]));
  return [...latest.values()];
}

function modelMetricJson(point: MetricRow): JsonObject {
  return {
    ...metricJson(point),
    model_id: point.model_id,
    run_id: point.run_id,
    ...(point.dataset_name === "" ? {} : { dataset_name: point.dataset_name }),
    ...(point.dataset_digest === "" ? {} : { dataset_digest: point.dataset_digest }),
  };
}
