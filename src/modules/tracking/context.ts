import { type Kysely, sql } from "kysely";
import type { Clock, Random } from "../../kernel/clock/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import type { BlobStore } from "../../stores/blobs/index.js";
import type { RecordTables } from "../../stores/records/index.js";
import type { Params } from "./params.js";
import type { TrackingTables } from "./schema.js";

/** A connection to the tables of tracking, inside or outside a write. */
export type Db = Kysely<TrackingTables>;

/** What the calls of this module work on. */
export interface TrackingContext {
  readonly tables: RecordTables<TrackingTables>;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly random: Random;
}

/** Where artifacts of new experiments lie; paths below it are keys of the blob store. */
export const ARTIFACT_ROOT = "mlflow-artifacts:/";

/** One call of the protocol. */
export interface Endpoint {
  readonly method: "GET" | "POST" | "PATCH" | "PUT" | "DELETE";
  /** Below `/api/<version>/mlflow/`; `:name` is a path parameter. */
  readonly path: string;
  /** Default 2.0. */
  readonly version?: "2.0" | "3.0";
  readonly verb: "get" | "list" | "create" | "update" | "delete";
  readonly resource: "experiments" | "runs" | "artifacts" | "registeredmodels";
  /** Default 1 MiB. */
  readonly maxBodyBytes?: number;
  /** `path` holds the path parameters. Throws `TrackingError`. */
  call(params: Params, path: Readonly<Record<string, string>>): Promise<JsonObject>;
}

/** The next number of a sequence that begins at 1. */
export async function nextNumber(db: Db, name: string): Promise<number> {
  const { value } = await db
    .insertInto("tracking_counters")
    .values({ name, value: 1 })
    .onConflict((conflict) => conflict.column("name").doUpdateSet({ value: sql`tracking_counters.value + 1` }))
    .returning("value")
    .executeTakeFirstOrThrow();
  return Number(value);
}

/** A member that is left out when the list is empty, as protobuf's JSON does. */
export function unlessEmpty<K extends string>(name: K, list: JsonObject[]): { [P in K]?: JsonObject[] } {
  const member: { [P in K]?: JsonObject[] } = {};
  if (list.length > 0) member[name] = list;
  return member;
}

/** Rows of a key-value table by their owner. */
export function groupBy<T, K>(rows: readonly T[], keyOf: (row: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const row of rows) {
    const key = keyOf(row);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [row]);
    else group.push(row);
  }
  return groups;
}

/** `{key, value}` of rows, in the order of their keys. */
export function keyValues(rows: readonly { key: string; value: string }[] | undefined): JsonObject[] {
  return (rows ?? []).map(({ key, value }) => ({ key, value })).sort((a, b) => (a.key < b.key ? -1 : 1));
}
