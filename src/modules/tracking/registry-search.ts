import { type RawBuilder, sql } from "kysely";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { type Db, type Endpoint, type TrackingContext, unlessEmpty } from "./context.js";
import { invalid } from "./errors.js";
import { type Comparison, type Order, parseFilter, parseOrder, type SearchRules } from "./filter.js";
import { selectVersions, versionsJson } from "./model-rows.js";
import { cutPage, pageOffset } from "./pages.js";
import type { Params } from "./params.js";
import { toPythonQuoted } from "./python-text.js";
import { modelsJson } from "./registered-models.js";
import { pageSize } from "./rules.js";
import {
  allOf,
  checkComparator,
  compareSql,
  keyValueSql,
  LIST_COMPARATORS,
  NUMBER_COMPARATORS,
  orderSql,
  TEXT_COMPARATORS,
} from "./sql.js";

const PROMPT_TAG = "mlflow.prompt.is_prompt";

const common = {
  entities: { attribute: "attribute", tag: "tag", tags: "tag" },
  validEntities: "Valid entity types are ('attribute', 'tag', 'tags')",
  quotesClauses: false,
  nullable: [],
} as const;

const modelRules: SearchRules = {
  ...common,
  attributes: ["name"],
  numericAttributes: [],
  listAttributes: ["name"],
  orderAttributes: ["name", "timestamp", "last_updated_timestamp"],
};

const versionRules: SearchRules = {
  ...common,
  attributes: ["name", "version_number", "run_id", "source_path"],
  numericAttributes: [],
  mixedAttributes: ["version_number"],
  listAttributes: ["name", "run_id"],
  orderAttributes: ["name", "version_number", "creation_timestamp", "last_updated_timestamp"],
};

const VERSION_COLUMNS: Readonly<Record<string, string>> = {
  name: "tracking_registered_models.name",
  version_number: "tracking_versions.version",
  run_id: "tracking_versions.run_id",
  source_path: "tracking_versions.source",
  creation_timestamp: "tracking_versions.created_ms",
  last_updated_timestamp: "tracking_versions.updated_ms",
};

/** Searches of registered models and of versions. */
export function registrySearchEndpoints({ tables }: TrackingContext): Endpoint[] {
  const shared = { method: "GET", verb: "list", resource: "registeredmodels" } as const;
  return [
    { ...shared, path: "registered-models/search", call: (params) => searchModels(tables.read, params) },
    { ...shared, path: "model-versions/search", call: (params) => searchVersions(tables.read, params) },
  ];
}

async function searchModels(db: Db, params: Params): Promise<JsonObject> {
  const limit = pageSize(params.integer("max_results"), { standard: 100, most: 1000 });
  const offset = pageOffset(params.text("page_token"));
  const comparisons = parseFilter(params.text("filter"), modelRules);
  const conditions = comparisons.map(modelCondition);
  if (!comparisons.some(isPromptTag)) conditions.push(noPrompt("tracking_registered_model_tags", isModelTag));
  const orders = params.texts("order_by").map(parseModelOrder);
  let query = db.selectFrom("tracking_registered_models").selectAll().where(allOf(conditions));
  for (const { key, ascending } of orders) {
    query = query.orderBy(
      orderSql(
        sql.ref(key === "name" ? "tracking_registered_models.name" : "tracking_registered_models.updated_ms"),
        ascending,
      ),
    );
  }
  const rows = await query
    .orderBy("name")
    .limit(limit + 1)
    .offset(offset)
    .execute();
  const page = cutPage(rows, offset, limit);
  return { ...unlessEmpty("registered_models", await modelsJson(db, page.rows)), ...page.next };
}

/** Prompts are registered models too, but shown only to those who ask for them by their tag. */
function isPromptTag({ type, key }: Comparison): boolean {
  return type === "tag" && key === PROMPT_TAG;
}

const isModelTag = sql<boolean>`kv.model_id = tracking_registered_models.id`;
const isVersionTag = sql<boolean>`kv.model_id = tracking_versions.model_id AND kv.version = tracking_versions.version`;

function noPrompt(table: string, owner: RawBuilder<boolean>): RawBuilder<boolean> {
  return sql<boolean>`NOT EXISTS (SELECT 1 FROM ${sql.table(table)} kv WHERE ${owner} AND kv.key = ${PROMPT_TAG} AND lower(kv.value) = 'true')`;
}

/** Clients hide prompts by `tags.mlflow.prompt.is_prompt != 'true'`, which models without the tag fulfil as well. */
function tagCondition(table: string, owner: RawBuilder<boolean>, comparison: Comparison): RawBuilder<boolean> {
  if (!isPromptTag(comparison) || comparison.comparator !== "!=") return keyValueSql(table, owner, comparison);
  return sql<boolean>`NOT ${keyValueSql(table, owner, { ...comparison, comparator: "=" })}`;
}

function modelCondition(comparison: Comparison): RawBuilder<boolean> {
  if (comparison.type === "tag") return tagCondition("tracking_registered_model_tags", isModelTag, comparison);
  checkComparator(comparison, LIST_COMPARATORS, `Invalid comparator for attribute: ${comparison.comparator}`);
  return compareSql(sql.ref("tracking_registered_models.name"), comparison);
}

function parseModelOrder(clause: string): Order {
  const [key = ""] = clause.trim().split(/\s+/);
  if (/^[A-Za-z_.]+$/.test(key) && !modelRules.orderAttributes.includes(key)) {
    throw invalid(`Invalid order by key '${key}' specified. Valid keys are '['name', 'timestamp']'`);
  }
  return parseOrder(clause, modelRules);
}

async function searchVersions(db: Db, params: Params): Promise<JsonObject> {
  const limit = pageSize(params.integer("max_results"), { standard: 10_000, most: 200_000 });
  const offset = pageOffset(params.text("page_token"));
  const comparisons = parseFilter(params.text("filter"), versionRules);
  const conditions = comparisons.map(versionCondition);
  if (!comparisons.some(isPromptTag)) conditions.push(noPrompt("tracking_version_tags", isVersionTag));
  const orders = params.texts("order_by").map((clause) => parseOrder(clause, versionRules));
  let query = selectVersions(db).where(allOf(conditions));
  for (const { key, ascending } of orders)
    query = query.orderBy(orderSql(sql.ref(VERSION_COLUMNS[key] ?? ""), ascending));
  const rows = await query
    .orderBy("tracking_registered_models.name")
    .orderBy("tracking_versions.version", "desc")
    .limit(limit + 1)
    .offset(offset)
    .execute();
  const page = cutPage(rows, offset, limit);
  return { ...unlessEmpty("model_versions", await versionsJson(db, page.rows)), ...page.next };
}

function versionCondition(comparison: Comparison): RawBuilder<boolean> {
  const { type, key, value } = comparison;
  if (type === "tag") return tagCondition("tracking_version_tags", isVersionTag, comparison);
  if (key === "version_number") {
    checkComparator(
      comparison,
      NUMBER_COMPARATORS,
      `Invalid comparator for attribute version_number: ${comparison.comparator}`,
    );
    if (!Number.isInteger(value)) {
      throw invalid(
        `Invalid value for numeric attribute 'version_number': ${typeof value === "string" ? toPythonQuoted(value) : String(value)}`,
      );
    }
  } else if (versionRules.listAttributes.includes(key)) {
    checkComparator(comparison, LIST_COMPARATORS, `Invalid comparator for attribute: ${comparison.comparator}`);
  } else {
    checkComparator(comparison, TEXT_COMPARATORS, `Invalid comparator for attribute: ${comparison.comparator}`);
  }
  return compareSql(sql.ref(VERSION_COLUMNS[key] ?? ""), comparison);
}
