import type { JsonObject } from "../../kernel/kinds/object.js";
import { type Db, groupBy, keyValues, unlessEmpty } from "./context.js";
import { invalid, notFound } from "./errors.js";
import { chunked } from "./sql.js";

/** A model's version with the model's name. */
export type VersionRow = Awaited<ReturnType<typeof readVersions>>[number];

/** The registered model with this name; 404 when there is none. */
export async function modelByName(db: Db, name: string) {
  const row = await db.selectFrom("tracking_registered_models").selectAll().where("name", "=", name).executeTakeFirst();
  if (row === undefined) throw notFound(`Registered Model with name=${name} not found`);
  return row;
}

export function modelById(db: Db, id: number) {
  return db.selectFrom("tracking_registered_models").selectAll().where("id", "=", id).executeTakeFirstOrThrow();
}

/** Versions with the names of their models. */
export function selectVersions(db: Db) {
  return db
    .selectFrom("tracking_versions")
    .innerJoin("tracking_registered_models", "tracking_registered_models.id", "tracking_versions.model_id")
    .selectAll("tracking_versions")
    .select("tracking_registered_models.name");
}

export async function readVersions(db: Db, modelIds: readonly number[]) {
  return modelIds.length === 0 ? [] : selectVersions(db).where("model_id", "in", modelIds).execute();
}

/** The number in a version as clients send it. */
export function versionNumber(version: string): number {
  if (!/^\s*[+-]?\d+\s*$/.test(version)) throw invalid(`Parameter 'version' must be an integer, got '${version}'.`);
  return Number(version);
}

const STAGES = ["None", "Staging", "Production", "Archived"];

/** A stage as it is written, whatever case it came in. */
export function canonicalStage(given: string): string {
  const stage = STAGES.find((known) => known.toLowerCase() === given.toLowerCase());
  if (stage === undefined)
    throw invalid(`Invalid Model Version stage: ${given}. Value must be one of ${STAGES.join(", ")}.`);
  return stage;
}

/** One version; 404 when there is none. */
export async function versionRow(db: Db, name: string, version: number): Promise<VersionRow> {
  const row = await selectVersions(db)
    .where("tracking_registered_models.name", "=", name)
    .where("tracking_versions.version", "=", version)
    .executeTakeFirst();
  if (row === undefined) throw notFound(`Model Version (name=${name}, version=${version}) not found`);
  return row;
}

/** Versions as the protocol shows them, with tags and aliases. */
export async function versionsJson(db: Db, rows: readonly VersionRow[]): Promise<JsonObject[]> {
  const json: JsonObject[] = [];
  for (const part of chunked(rows)) json.push(...(await someVersionsJson(db, part)));
  return json;
}

async function someVersionsJson(db: Db, rows: readonly VersionRow[]): Promise<JsonObject[]> {
  if (rows.length === 0) return [];
  const ids = [...new Set(rows.map((row) => row.model_id))];
  const keyOf = ({ model_id, version }: { model_id: number; version: number }): string => `${model_id}/${version}`;
  const tags = groupBy(
    await db.selectFrom("tracking_version_tags").selectAll().where("model_id", "in", ids).execute(),
    keyOf,
  );
  const aliases = groupBy(
    await db.selectFrom("tracking_aliases").selectAll().where("model_id", "in", ids).orderBy("alias").execute(),
    keyOf,
  );
  return rows.map((row) => {
    const ofRow = (aliases.get(keyOf(row)) ?? []).map(({ alias }) => alias);
    return {
      name: row.name,
      version: String(row.version),
      creation_timestamp: Number(row.created_ms),
      last_updated_timestamp: Number(row.updated_ms),
      current_stage: row.stage,
      ...(row.description === null ? {} : { description: row.description }),
      source: row.source,
      run_id: row.run_id,
      run_link: row.run_link,
      status: "READY",
      ...unlessEmpty("tags", keyValues(tags.get(keyOf(row)))),
      ...(ofRow.length === 0 ? {} : { aliases: ofRow }),
    };
  });
}
