import { type RawBuilder, sql } from "kysely";
import type { JsonObject } from "../../kernel/kinds/object.js";
import type { Db, Endpoint, TrackingContext } from "./context.js";
import { invalid } from "./errors.js";
import { experimentsJson } from "./experiments.js";
import { type Comparison, parseFilter, parseOrder, type SearchRules } from "./filter.js";
import { cutPage, pageOffset } from "./pages.js";
import type { Params } from "./params.js";
import { pageSize } from "./rules.js";
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

/** Which life-cycle stages a search shows. */
export const VIEWS = { ACTIVE_ONLY: 1, DELETED_ONLY: 2, ALL: 3 } as const;

const COLUMNS: Readonly<Record<string, string>> = {
  name: "name",
  experiment_id: "id",
  creation_time: "created_ms",
  last_update_time: "updated_ms",
};

const rules: SearchRules = {
  entities: { attribute: "attribute", tag: "tag", tags: "tag" },
  validEntities: "Valid entity types are ('attribute', 'tag', 'tags')",
  attributes: Object.keys(COLUMNS),
  numericAttributes: ["creation_time", "last_update_time"],
  listAttributes: ["experiment_id"],
  orderAttributes: Object.keys(COLUMNS),
  quotesClauses: false,
  nullable: ["tag"],
};

/** `experiments/search`, by POST and by GET. */
export function experimentSearchEndpoints({ tables }: TrackingContext): Endpoint[] {
  const call = (params: Params): Promise<JsonObject> => search(tables.read, params);
  const common = { path: "experiments/search", verb: "list", resource: "experiments", call } as const;
  return [
    { ...common, method: "POST" },
    { ...common, method: "GET" },
  ];
}

async function search(db: Db, params: Params): Promise<JsonObject> {
  const limit = pageSize(params.integer("max_results"), { standard: 1000, most: 50_000 });
  const offset = pageOffset(params.text("page_token"));
  const view = params.choice("view_type", VIEWS) ?? "ACTIVE_ONLY";
  const conditions = parseFilter(params.text("filter"), rules).map(conditionOf);
  const orders = params.texts("order_by").map((clause) => parseOrder(clause, rules));
  if (orders.some((order) => order.type === "tag")) throw invalid("Invalid order_by entity: tag");
  let query = db.selectFrom("tracking_experiments").selectAll().where(allOf(conditions));
  if (view !== "ALL") query = query.where("lifecycle", "=", view === "ACTIVE_ONLY" ? "active" : "deleted");
  for (const { key, ascending } of orders) {
    query = query.orderBy(orderSql(columnOf(key), ascending));
  }
  if (orders.length === 0) query = query.orderBy("created_ms", "desc");
  const rows = await query
    .orderBy("id", "desc")
    .limit(limit + 1)
    .offset(offset)
    .execute();
  const page = cutPage(rows, offset, limit);
  const experiments = await experimentsJson(db, page.rows);
  return { ...(experiments.length > 0 ? { experiments } : {}), ...page.next };
}

function columnOf(key: string): RawBuilder<unknown> {
  return sql.ref(`tracking_experiments.${COLUMNS[key] ?? "name"}`);
}

function conditionOf(comparison: Comparison): RawBuilder<boolean> {
  if (comparison.type === "tag") {
    return keyValueSql(
      "tracking_experiment_tags",
      sql<boolean>`kv.experiment_id = tracking_experiments.id`,
      comparison,
    );
  }
  if (comparison.key === "experiment_id") {
    checkComparator(
      comparison,
      ["=", "!=", "IN", "NOT IN"],
      `Invalid comparator for experiment_id: ${comparison.comparator}`,
    );
    return compareSql(sql`CAST(tracking_experiments.id AS TEXT)`, comparison);
  }
  const allowed = rules.numericAttributes.includes(comparison.key) ? NUMBER_COMPARATORS : TEXT_COMPARATORS;
  checkComparator(
    comparison,
    allowed,
    `Invalid comparator '${comparison.comparator}' not one of '${comparatorList(LIST_COMPARATORS)}'`,
  );
  return compareSql(columnOf(comparison.key), comparison);
}
