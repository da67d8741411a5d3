import { type RawBuilder, sql } from "kysely";
import type { JsonObject } from "../../kernel/kinds/object.js";
import type { Db, Endpoint, TrackingContext } from "./context.js";
import { invalid } from "./errors.js";
import { VIEWS } from "./experiment-search.js";
import { type Comparison, type Order, parseFilter, parseOrder, type SearchRules } from "./filter.js";
import { cutPage, pageOffset } from "./pages.js";
import type { Params } from "./params.js";
import { experimentNumber, pageSize } from "./rules.js";
import { runsJson } from "./run-rows.js";
import {
  allOf,
  checkComparator,
  comparatorList,
  compareSql,
  keyValueSql,
  LIST_COMPARATORS,
  NUMBER_COMPARATORS,
  orderSql,
  TEXT_COMPARATORS,
} from "./sql.js";

const COLUMNS: Readonly<Record<string, string>> = {
  run_id: "id",
  run_name: "name",
  "run name": "name",
  "Run name": "name",
  "Run Name": "name",
  status: "status",
  artifact_uri: "artifact_uri",
  user_id: "user_id",
  start_time: "start_ms",
  created: "start_ms",
  Created: "start_ms",
  end_time: "end_ms",
};

const rules: SearchRules = {
  entities: {
    metric: "metric",
    metrics: "metric",
    param: "parameter",
    params: "parameter",
    parameter: "parameter",
    parameters: "parameter",
    tag: "tag",
    tags: "tag",
    attribute: "attribute",
    attributes: "attribute",
    attr: "attribute",
    run: "attribute",
    dataset: "dataset",
    datasets: "dataset",
  },
  validEntities: "Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']",
  attributes: Object.keys(COLUMNS),
  numericAttributes: ["start_time", "end_time", "created", "Created"],
  listAttributes: ["run_id"],
  orderAttributes: [
    "artifact_uri",
    "start_time",
    "run_name",
    "user_id",
    "end_time",
    "status",
    "run_id",
    "created",
    "Created",
  ],
  quotesClauses: true,
  nullable: ["tag", "parameter"],
};

/** `runs/search`. */
export function runSearchEndpoints({ tables }: TrackingContext): Endpoint[] {
  return [
    {
      method: "POST",
      path: "runs/search",
      verb: "list",
      resource: "runs",
      call: (params) => search(tables.read, params),
    },
  ];
}

async function search(db: Db, params: Params): Promise<JsonObject> {
  const experiments = params.texts("experiment_ids").map(experimentNumber).filter(Number.isSafeInteger);
  const limit = pageSize(params.integer("max_results"), { standard: 1000, most: 50_000 });
  const offset = pageOffset(params.text("page_token"));
  const view = params.choice("run_view_type", VIEWS) ?? "ACTIVE_ONLY";
  const conditions = parseFilter(params.text("filter"), rules).map(conditionOf);
  const orders = params.texts("order_by").map((clause) => parseOrder(clause, rules));
  if (experiments.length === 0) return {};
  let query = db
    .selectFrom("tracking_runs")
    .selectAll()
    .where("experiment_id", "in", experiments)
    .where(allOf(conditions));
  if (view !== "ALL") query = query.where("lifecycle", "=", view === "ACTIVE_ONLY" ? "active" : "deleted");
  for (const order of orders) query = query.orderBy(orderOf(order));
  const rows = await query
    .orderBy("start_ms", "desc")
    .orderBy("id", "asc")
    .limit(limit + 1)
    .offset(offset)
    .execute();
  const page = cutPage(rows, offset, limit);
  const runs = await runsJson(db, page.rows);
  return { ...(runs.length > 0 ? { runs } : {}), ...page.next };
}

function columnOf(key: string): RawBuilder<unknown> {
  return sql.ref(`tracking_runs.${COLUMNS[key] ?? "id"}`);
}

function orderOf({ type, key, ascending }: Order): RawBuilder<unknown> {
  switch (type) {
    case "metric":
      return orderSql(
        sql`(SELECT CASE WHEN m.is_nan = 1 THEN NULL ELSE m.value END FROM tracking_latest_metrics m
        WHERE m.run_id = tracking_runs.id AND m.key = ${key})`,
        ascending,
      );
    case "parameter":
      return orderSql(
        sql`(SELECT p.value FROM tracking_params p WHERE p.run_id = tracking_runs.id AND p.key = ${key})`,
        ascending,
      );
    case "tag":
      return orderSql(
        sql`(SELECT t.value FROM tracking_run_tags t WHERE t.run_id = tracking_runs.id AND t.key = ${key})`,
        ascending,
      );
    case "dataset":
      throw invalid("Invalid identifier type 'dataset'");
    case "attribute":
      return orderSql(columnOf(key), ascending);
  }
}

function conditionOf(comparison: Comparison): RawBuilder<boolean> {
  const { type, key } = comparison;
  switch (type) {
    case "metric":
      checkComparator(comparison, NUMBER_COMPARATORS, notOneOf(comparison, NUMBER_COMPARATORS));
      // NaN differs from every number, and is neither smaller nor larger.
      return sql<boolean>`EXISTS (SELECT 1 FROM tracking_latest_metrics m WHERE m.run_id = tracking_runs.id AND m.key = ${key}
        AND ${comparison.comparator === "!=" ? sql`(m.is_nan = 1 OR m.value <> ${comparison.value})` : sql`m.is_nan = 0 AND ${compareSql(sql.ref("m.value"), comparison)}`})`;
    case "parameter":
      return keyValueSql("tracking_params", isRunKey, comparison, `${notOneOf(comparison, KEY_COMPARATORS)}'`);
    case "tag":
      return keyValueSql("tracking_run_tags", isRunKey, comparison, `${notOneOf(comparison, KEY_COMPARATORS)}'`);
    case "dataset":
      checkComparator(comparison, LIST_COMPARATORS, notOneOf(comparison, LIST_COMPARATORS));
      return sql<boolean>`EXISTS (SELECT 1 FROM ${datasetTables()} WHERE i.run_id = tracking_runs.id AND ${compareSql(datasetColumn(key), comparison)})`;
    case "attribute":
      checkComparator(comparison, comparatorsOf(key), `${notOneOf(comparison, LIST_COMPARATORS)}'`);
      return compareSql(columnOf(key), comparison);
  }
}

const isRunKey = sql<boolean>`kv.run_id = tracking_runs.id`;
const KEY_COMPARATORS = [...TEXT_COMPARATORS, "IS NULL", "IS NOT NULL"] as const;

/** The refusal of a comparator, in the protocol's words (which leave some quotes open). */
function notOneOf({ comparator }: Comparison, comparators: readonly Comparison["comparator"][]): string {
  return `Invalid comparator '${comparator}' not one of '${comparatorList(comparators)}`;
}

function comparatorsOf(key: string): readonly Comparison["comparator"][] {
  if (rules.numericAttributes.includes(key)) return NUMBER_COMPARATORS;
  return rules.listAttributes.includes(key) ? LIST_COMPARATORS : TEXT_COMPARATORS;
}

function datasetTables(): RawBuilder<unknown> {
  return sql`tracking_inputs i INNER JOIN tracking_datasets d ON d.id = i.dataset_id
    LEFT JOIN tracking_input_tags c ON c.run_id = i.run_id AND c.dataset_id = i.dataset_id AND c.key = 'mlflow.data.context'`;
}

function datasetColumn(key: string): RawBuilder<unknown> {
  if (key === "context") return sql.ref("c.value");
  return sql.ref(key === "digest" ? "d.digest" : "d.name");
}
