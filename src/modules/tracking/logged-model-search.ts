import { type RawBuilder, sql } from "kysely";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { type Db, type Endpoint, type TrackingContext, unlessEmpty } from "./context.js";
import { missing } from "./errors.js";
import { type Comparison, parseFilter, parseIdentifier, type SearchRules } from "./filter.js";
import { loggedModelsJson } from "./logged-model-rows.js";
import { cutPage, pageOffset } from "./pages.js";
import type { Params } from "./params.js";
import { experimentNumber, pageSize } from "./rules.js";
import {
  allOf,
  checkComparator,
  comparatorList,
  compareSql,
  keyValueSql,
  LIST_COMPARATORS,
  NUMBER_COMPARATORS,
  orderSql,
} from "./sql.js";

const COLUMNS: Readonly<Record<string, string>> = {
  name: "name",
  model_id: "id",
  model_type: "model_type",
  status: "status",
  source_run_id: "source_run_id",
  creation_timestamp: "created_ms",
  creation_time: "created_ms",
  last_updated_timestamp: "updated_ms",
  last_updated_time: "updated_ms",
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
  },
  validEntities: "Valid values are ['metric', 'parameter', 'tag', 'attribute']",
  attributes: Object.keys(COLUMNS),
  numericAttributes: ["creation_timestamp", "creation_time", "last_updated_timestamp", "last_updated_time"],
  listAttributes: ["name", "model_id", "model_type", "status", "source_run_id"],
  orderAttributes: Object.keys(COLUMNS),
  quotesClauses: true,
  nullable: [],
};

interface Dataset {
  readonly name: string;
  readonly digest: string;
}

/** `logged-models/search`. */
export function loggedModelSearchEndpoints({ tables }: TrackingContext): Endpoint[] {
  return [
    {
      method: "POST",
      path: "logged-models/search",
      verb: "list",
      resource: "runs",
      call: (params) => search(tables.read, params),
    },
  ];
}

async function search(db: Db, params: Params): Promise<JsonObject> {
  const experiments = params.texts("experiment_ids").map(experimentNumber).filter(Number.isSafeInteger);
  const limit = pageSize(params.integer("max_results"), { standard: 50, most: 50, beyond: "clamp" });
  const offset = pageOffset(params.text("page_token"));
  const datasets = params
    .objects("datasets")
    .map((d) => ({ name: d.requiredText("dataset_name"), digest: d.text("dataset_digest") ?? "" }));
  const conditions = parseFilter(params.text("filter"), rules).map((comparison) => conditionOf(comparison, datasets));
  const orders = params.objects("order_by").map(readOrder);
  if (!params.has("experiment_ids")) throw missing("experiment_ids");
  if (experiments.length === 0) return {};
  let query = db
    .selectFrom("tracking_logged_models")
    .selectAll()
    .where("experiment_id", "in", experiments)
    .where("deleted", "=", 0)
    .where(allOf(conditions));
  for (const order of orders) query = query.orderBy(order);
  const rows = await query
    .orderBy("created_ms", "desc")
    .orderBy("position", "desc")
    .limit(limit + 1)
    .offset(offset)
    .execute();
  const page = cutPage(rows, offset, limit);
  return { ...unlessEmpty("models", await loggedModelsJson(db, page.rows)), ...page.next };
}

function readOrder(params: Params): RawBuilder<unknown> {
  const { type, key } = parseIdentifier(params.requiredText("field_name"), rules, rules.orderAttributes);
  const ascending = params.boolean("ascending") ?? true;
  const dataset = params.text("dataset_name");
  switch (type) {
    case "metric": {
      const only = dataset === undefined ? [] : [{ name: dataset, digest: params.text("dataset_digest") ?? "" }];
      const value = sql`(SELECT CASE WHEN m.is_nan = 1 THEN NULL ELSE m.value END FROM tracking_logged_model_metrics m
        WHERE m.model_id = tracking_logged_models.id AND m.key = ${key} AND ${datasetSql(only)}
        ORDER BY m.timestamp_ms DESC, m.step DESC LIMIT 1)`;
      return orderSql(value, ascending);
    }
    case "parameter":
      return orderSql(keyedValue("tracking_logged_model_params", key), ascending);
    case "tag":
      return orderSql(keyedValue("tracking_logged_model_tags", key), ascending);
    default:
      return orderSql(columnOf(key), ascending);
  }
}

function columnOf(key: string): RawBuilder<unknown> {
  return sql.ref(`tracking_logged_models.${COLUMNS[key] ?? "name"}`);
}

function keyedValue(table: string, key: string): RawBuilder<unknown> {
  return sql`(SELECT kv.value FROM ${sql.table(table)} kv WHERE kv.model_id = tracking_logged_models.id AND kv.key = ${key})`;
}

function datasetSql(datasets: readonly Dataset[]): RawBuilder<boolean> {
  if (datasets.length === 0) return sql<boolean>`1 = 1`;
  const each = datasets.map(({ name, digest }) =>
    digest === "" ? sql`m.dataset_name = ${name}` : sql`(m.dataset_name = ${name} AND m.dataset_digest = ${digest})`,
  );
  return sql<boolean>`(${sql.join(each, sql` OR `)})`;
}

function conditionOf(comparison: Comparison, datasets: readonly Dataset[]): RawBuilder<boolean> {
  const { type, key } = comparison;
  const owner = sql<boolean>`kv.model_id = tracking_logged_models.id`;
  if (type === "parameter")
    return keyValueSql("tracking_logged_model_params", owner, comparison, notExpected(comparison, LIST_COMPARATORS));
  if (type === "tag")
    return keyValueSql("tracking_logged_model_tags", owner, comparison, notExpected(comparison, LIST_COMPARATORS));
  if (type === "metric") {
    checkComparator(comparison, NUMBER_COMPARATORS, notExpected(comparison, NUMBER_COMPARATORS));
    return sql<boolean>`EXISTS (SELECT 1 FROM tracking_logged_model_metrics m WHERE m.model_id = tracking_logged_models.id
      AND m.key = ${key} AND m.is_nan = 0 AND ${datasetSql(datasets)} AND ${compareSql(sql.ref("m.value"), comparison)})`;
  }
  const numeric = rules.numericAttributes.includes(key);
  const allowed = numeric ? NUMBER_COMPARATORS : LIST_COMPARATORS;
  checkComparator(comparison, allowed, notExpected(comparison, allowed));
  return compareSql(columnOf(key), comparison);
}

const PREFIXES = {
  metric: "metrics",
  parameter: "params",
  tag: "tags",
  attribute: "attributes",
  dataset: "datasets",
} as const;

function notExpected({ type, key, comparator }: Comparison, comparators: readonly Comparison["comparator"][]): string {
  return `Invalid comparison operator for ${PREFIXES[type]}.${key}: '${comparator}'. Expected one of ${comparatorList(comparators)}.`;
}
