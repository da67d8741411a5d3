import { type RawBuilder, sql } from "kysely";
import { invalid } from "./errors.js";
import type { Comparator, Comparison } from "./filter.js";

/** Comparators that text can be compared with in searches. */
export const TEXT_COMPARATORS: readonly Comparator[] = ["=", "!=", "LIKE", "ILIKE"];
/** Comparators of text that may also be compared with a list. */
export const LIST_COMPARATORS: readonly Comparator[] = [...TEXT_COMPARATORS, "IN", "NOT IN"];
/** Comparators of numbers. */
export const NUMBER_COMPARATORS: readonly Comparator[] = ["=", "!=", "<", "<=", ">", ">="];

/** Refuses a comparator that this left side does not have, in the caller's words. */
export function checkComparator({ comparator }: Comparison, allowed: readonly Comparator[], words: string): void {
  if (!allowed.includes(comparator)) throw invalid(words);
}

/** `['!=', '=']` */
export function comparatorList(comparators: readonly Comparator[]): string {
  return `[${comparators
    .toSorted()
    .map((c) => `'${c}'`)
    .join(", ")}]`;
}

/** `column <comparator> value` in SQL that every home understands. */
export function compareSql(
  column: RawBuilder<unknown>,
  { comparator, value }: Pick<Comparison, "comparator" | "value">,
): RawBuilder<boolean> {
  switch (comparator) {
    case "=":
    case "==":
      return sql<boolean>`${column} = ${value}`;
    case "!=":
    case "<>":
      return sql<boolean>`${column} <> ${value}`;
    case "<":
      return sql<boolean>`${column} < ${value}`;
    case "<=":
      return sql<boolean>`${column} <= ${value}`;
    case ">":
      return sql<boolean>`${column} > ${value}`;
    case ">=":
      return sql<boolean>`${column} >= ${value}`;
    case "LIKE":
      return sql<boolean>`${column} LIKE ${value}`;
    case "ILIKE":
      return sql<boolean>`lower(${column}) LIKE lower(${value})`;
    case "NOT LIKE":
      return sql<boolean>`${column} NOT LIKE ${value}`;
    case "IN":
      return sql<boolean>`${column} IN (${listOf(value)})`;
    case "NOT IN":
      return sql<boolean>`${column} NOT IN (${listOf(value)})`;
    case "IS NULL":
      return sql<boolean>`${column} IS NULL`;
    case "IS NOT NULL":
      return sql<boolean>`${column} IS NOT NULL`;
  }
}

function listOf(value: Comparison["value"]): RawBuilder<unknown> {
  const items = Array.isArray(value) ? value : [value];
  return sql.join(items.map((item) => sql`${item}`));
}

/** Whether a key-value table has a row of `owner` under the comparison's key that fits; IS NULL: no row at all. */
export function keyValueSql(
  table: string,
  owner: RawBuilder<boolean>,
  comparison: Comparison,
  words = `Invalid comparator for ${comparison.type}: ${comparison.comparator}`,
): RawBuilder<boolean> {
  const rows = sql`SELECT 1 FROM ${sql.table(table)} kv WHERE ${owner} AND kv.key = ${comparison.key}`;
  if (comparison.comparator === "IS NULL") return sql<boolean>`NOT EXISTS (${rows})`;
  if (comparison.comparator === "IS NOT NULL") return sql<boolean>`EXISTS (${rows})`;
  checkComparator(comparison, TEXT_COMPARATORS, words);
  return sql<boolean>`EXISTS (${rows} AND ${compareSql(sql.ref("kv.value"), comparison)})`;
}

/** All of the conditions; true when there are none. */
export function allOf(conditions: readonly RawBuilder<boolean>[]): RawBuilder<boolean> {
  return conditions.length === 0
    ? sql<boolean>`1 = 1`
    : sql<boolean>`${sql.join(
        conditions.map((c) => sql`(${c})`),
        sql` AND `,
      )}`;
}

/** One term of ORDER BY; missing values come last both ways. */
export function orderSql(expression: RawBuilder<unknown>, ascending: boolean): RawBuilder<unknown> {
  return sql`CASE WHEN ${expression} IS NULL THEN 1 ELSE 0 END, ${expression} ${ascending ? sql`ASC` : sql`DESC`}`;
}

/** Splits a list for IN clauses: databases bound the number of parameters. */
export function chunked<T>(items: readonly T[], size = 500): T[][] {
  const chunks: T[][] = [];
  for (let start = 0; start < items.length; start += size) chunks.push(items.slice(start, start + size));
  return chunks;
}
