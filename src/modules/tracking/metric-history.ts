import type { JsonObject } from "../../kernel/kinds/object.js";
import type { Db, Endpoint, TrackingContext } from "./context.js";
import { unlessEmpty } from "./context.js";
import { invalid } from "./errors.js";
import { cutPage, pageOffset } from "./pages.js";
import type { Params } from "./params.js";
import { pageSize } from "./rules.js";
import { metricJson, runIdOf } from "./run-rows.js";

const MAX_POINTS = 25_000;
const MAX_BULK_RUNS = 100;

/** Calls that read all points of a metric. */
export function metricHistoryEndpoints({ tables }: TrackingContext): Endpoint[] {
  const common = { method: "GET", verb: "get", resource: "runs" } as const;
  return [
    { ...common, path: "metrics/get-history", call: (params) => history(tables.read, params) },
    { ...common, path: "metrics/get-history-bulk", call: (params) => bulkHistory(tables.read, params) },
  ];
}

async function history(db: Db, params: Params): Promise<JsonObject> {
  const runId = runIdOf(params);
  const key = params.requiredText("metric_key");
  const given = params.integer("max_results") ?? MAX_POINTS;
  if (given < 1)
    throw invalid(`Invalid value ${given} for parameter 'max_results' supplied. It must be a positive integer.`);
  const limit = Math.min(given, MAX_POINTS);
  const offset = pageOffset(params.text("page_token"));
  const rows = await pointsOf(db, runId, key)
    .limit(limit + 1)
    .offset(offset)
    .execute();
  const page = cutPage(rows, offset, limit);
  return { ...unlessEmpty("metrics", page.rows.map(metricJson)), ...page.next };
}

/** One metric of many runs at once, for charts. */
async function bulkHistory(db: Db, params: Params): Promise<JsonObject> {
  const runIds = params.texts("run_id");
  const key = params.text("metric_key") ?? "";
  if (runIds.length === 0) throw invalid("GetMetricHistoryBulk request must specify at least one run_id.");
  if (key === "") throw invalid("GetMetricHistoryBulk request must specify a metric_key.");
  if (runIds.length > MAX_BULK_RUNS)
    throw invalid(`Received ${runIds.length} run IDs, at most ${MAX_BULK_RUNS} may be asked for at once.`);
  const limit = pageSize(params.integer("max_results"), { standard: MAX_POINTS, most: MAX_POINTS });
  const metrics: JsonObject[] = [];
  for (const runId of [...new Set(runIds)].sort()) {
    const rows = await pointsOf(db, runId, key)
      .limit(limit - metrics.length)
      .execute();
    metrics.push(...rows.map((row) => ({ ...metricJson(row), run_id: runId })));
    if (metrics.length >= limit) break;
  }
  return { metrics };
}

/** A run's points of one metric, as they were logged. */
function pointsOf(db: Db, runId: string, key: string) {
  return db
    .selectFrom("tracking_metrics")
    .selectAll()
    .where("run_id", "=", runId)
    .where("key", "=", key)
    .orderBy("timestamp_ms")
    .orderBy("step")
    .orderBy("value");
}
