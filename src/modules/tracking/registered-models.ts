import type { Selectable } from "kysely";
import type { JsonObject } from "../../kernel/kinds/object.js";
import {
  type Db,
  type Endpoint,
  groupBy,
  keyValues,
  nextNumber,
  type TrackingContext,
  unlessEmpty,
} from "./context.js";
import { invalid, notFound, TrackingError } from "./errors.js";
import {
  canonicalStage,
  modelById,
  modelByName,
  readVersions,
  versionNumber,
  versionRow,
  versionsJson,
} from "./model-rows.js";
import type { Params } from "./params.js";
import { checkAlias, checkModelName, checkTag, LIMITS } from "./rules.js";
import type { TrackingTables } from "./schema.js";
import { chunked } from "./sql.js";

export type ModelRow = Selectable<TrackingTables["tracking_registered_models"]>;

type Write = (db: Db, params: Params, now: number) => Promise<JsonObject>;

/** Calls on registered models, their tags and aliases. */
export function registeredModelEndpoints({ tables, clock }: TrackingContext): Endpoint[] {
  const write = (method: Endpoint["method"], path: string, verb: Endpoint["verb"], call: Write): Endpoint => ({
    method,
    path: `registered-models/${path}`,
    verb,
    resource: "registeredmodels",
    call: (params) => tables.write((db) => call(db, params, clock.now())),
  });
  const read = (
    method: Endpoint["method"],
    path: string,
    call: (db: Db, params: Params) => Promise<JsonObject>,
  ): Endpoint => ({
    method,
    path: `registered-models/${path}`,
    verb: "get",
    resource: "registeredmodels",
    call: (params) => call(tables.read, params),
  });
  return [
    write("POST", "create", "create", createModel),
    read("GET", "get", async (db, params) => modelJson(db, await modelByName(db, params.requiredText("name")))),
    write("POST", "rename", "update", renameModel),
    write("PATCH", "update", "update", updateModel),
    write("DELETE", "delete", "delete", deleteModel),
    read("GET", "get-latest-versions", latestVersions),
    read("POST", "get-latest-versions", latestVersions),
    write("POST", "set-tag", "update", setTag),
    write("DELETE", "delete-tag", "update", deleteTag),
    write("POST", "alias", "update", setAlias),
    write("DELETE", "alias", "update", deleteAlias),
    read("GET", "alias", getByAlias),
  ];
}

async function createModel(db: Db, params: Params, now: number): Promise<JsonObject> {
  const name = params.requiredText("name");
  const description = params.text("description") ?? "";
  const tags = params.objects("tags").map((tag) => ({ key: tag.looseText("key"), value: tag.looseText("value") }));
  checkModelName(name);
  for (const { key, value } of tags) checkTag(key, value, LIMITS.registryTagValue);
  await refuseTaken(db, name);
  const id = await nextNumber(db, "registered model");
  await db
    .insertInto("tracking_registered_models")
    .values({
      id,
      name,
      description: description === "" ? null : description,
      created_ms: now,
      updated_ms: now,
      last_version: 0,
    })
    .execute();
  for (const tag of tags) await upsertTag(db, id, tag);
  return modelJson(db, await modelById(db, id));
}

async function refuseTaken(db: Db, name: string): Promise<void> {
  const taken = await db
    .selectFrom("tracking_registered_models")
    .select("id")
    .where("name", "=", name)
    .executeTakeFirst();
  if (taken !== undefined)
    throw new TrackingError("RESOURCE_ALREADY_EXISTS", `Registered Model (name=${name}) already exists.`);
}

async function renameModel(db: Db, params: Params, now: number): Promise<JsonObject> {
  const name = params.requiredText("name");
  const newName = params.requiredText("new_name");
  checkModelName(newName);
  const model = await modelByName(db, name);
  if (newName !== name) await refuseTaken(db, newName);
  await db
    .updateTable("tracking_registered_models")
    .set({ name: newName, updated_ms: now })
    .where("id", "=", model.id)
    .execute();
  await db.updateTable("tracking_versions").set({ updated_ms: now }).where("model_id", "=", model.id).execute();
  return modelJson(db, await modelById(db, model.id));
}

async function updateModel(db: Db, params: Params, now: number): Promise<JsonObject> {
  const name = params.requiredText("name");
  const description = params.text("description") ?? "";
  const model = await modelByName(db, name);
  await db
    .updateTable("tracking_registered_models")
    .set({ description: description === "" ? null : description, updated_ms: now })
    .where("id", "=", model.id)
    .execute();
  return modelJson(db, await modelById(db, model.id));
}

async function deleteModel(db: Db, params: Params): Promise<JsonObject> {
  const model = await modelByName(db, params.requiredText("name"));
  for (const table of [
    "tracking_version_tags",
    "tracking_versions",
    "tracking_aliases",
    "tracking_registered_model_tags",
  ] as const) {
    await db.deleteFrom(table).where("model_id", "=", model.id).execute();
  }
  await db.deleteFrom("tracking_registered_models").where("id", "=", model.id).execute();
  return {};
}

async function latestVersions(db: Db, params: Params): Promise<JsonObject> {
  const model = await modelByName(db, params.requiredText("name"));
  const stages = params.texts("stages").map(canonicalStage);
  const latest = await latestByStage(db, [model.id]);
  const wanted = latest.filter((row) => stages.length === 0 || stages.includes(row.stage));
  return unlessEmpty("model_versions", await versionsJson(db, wanted));
}

async function setTag(db: Db, params: Params): Promise<JsonObject> {
  const name = params.requiredText("name");
  const tag = { key: params.requiredText("key"), value: params.text("value") ?? "" };
  checkTag(tag.key, tag.value, LIMITS.registryTagValue);
  const model = await modelByName(db, name);
  await upsertTag(db, model.id, tag);
  return {};
}

async function upsertTag(db: Db, modelId: number, { key, value }: { key: string; value: string }): Promise<void> {
  await db
    .insertInto("tracking_registered_model_tags")
    .values({ model_id: modelId, key, value })
    .onConflict((conflict) => conflict.columns(["model_id", "key"]).doUpdateSet({ value }))
    .execute();
}

async function deleteTag(db: Db, params: Params): Promise<JsonObject> {
  const name = params.requiredText("name");
  const key = params.requiredText("key");
  const model = await modelByName(db, name);
  await db
    .deleteFrom("tracking_registered_model_tags")
    .where("model_id", "=", model.id)
    .where("key", "=", key)
    .execute();
  return {};
}

async function setAlias(db: Db, params: Params): Promise<JsonObject> {
  const name = params.requiredText("name");
  const alias = params.requiredText("alias");
  const version = params.requiredText("version");
  checkAlias(alias);
  const number = versionNumber(version);
  const row = await versionRow(db, name, number);
  await db
    .insertInto("tracking_aliases")
    .values({ model_id: row.model_id, alias, version: number })
    .onConflict((conflict) => conflict.columns(["model_id", "alias"]).doUpdateSet({ version: number }))
    .execute();
  return {};
}

async function deleteAlias(db: Db, params: Params): Promise<JsonObject> {
  const name = params.requiredText("name");
  const alias = params.requiredText("alias");
  const model = await modelByName(db, name);
  await db.deleteFrom("tracking_aliases").where("model_id", "=", model.id).where("alias", "=", alias).execute();
  return {};
}

async function getByAlias(db: Db, params: Params): Promise<JsonObject> {
  const name = params.requiredText("name");
  const alias = params.requiredText("alias");
  const model = await modelByName(db, name);
  const found =
    alias.toLowerCase() === "latest"
      ? await db
          .selectFrom("tracking_versions")
          .select("version")
          .where("model_id", "=", model.id)
          .orderBy("version", "desc")
          .executeTakeFirst()
      : await db
          .selectFrom("tracking_aliases")
          .select("version")
          .where("model_id", "=", model.id)
          .where("alias", "=", alias)
          .executeTakeFirst();
  if (found === undefined) {
    throw alias.toLowerCase() === "latest"
      ? notFound(`Latest version not found for model ${name}.`)
      : invalid(`Registered model alias ${alias} not found.`);
  }
  const [version = {}] = await versionsJson(db, [await versionRow(db, name, Number(found.version))]);
  return { model_version: version };
}

async function modelJson(db: Db, row: ModelRow): Promise<JsonObject> {
  const [json = {}] = await modelsJson(db, [row]);
  return { registered_model: json };
}

async function latestByStage(db: Db, modelIds: readonly number[]): ReturnType<typeof readVersions> {
  const rows = await readVersions(db, modelIds);
  const latest = new Map<string, (typeof rows)[number]>();
  for (const row of rows) {
    const known = latest.get(`${row.model_id}/${row.stage}`);
    if (known === undefined || known.version < row.version) latest.set(`${row.model_id}/${row.stage}`, row);
  }
  return [...latest.values()];
}

/** Registered models as the protocol shows them, with the latest version of each stage. */
export async function modelsJson(db: Db, rows: readonly ModelRow[]): Promise<JsonObject[]> {
  const json: JsonObject[] = [];
  for (const part of chunked(rows)) json.push(...(await someModelsJson(db, part)));
  return json;
}

async function someModelsJson(db: Db, rows: readonly ModelRow[]): Promise<JsonObject[]> {
  if (rows.length === 0) return [];
  const ids = rows.map((row) => row.id);
  const tags = groupBy(
    await db.selectFrom("tracking_registered_model_tags").selectAll().where("model_id", "in", ids).execute(),
    (t) => t.model_id,
  );
  const aliases = groupBy(
    await db.selectFrom("tracking_aliases").selectAll().where("model_id", "in", ids).orderBy("alias").execute(),
    (a) => a.model_id,
  );
  const latest = groupBy(await latestByStage(db, ids), (v) => v.model_id);
  const json: JsonObject[] = [];
  for (const row of rows) {
    const versions = await versionsJson(db, latest.get(row.id) ?? []);
    json.push({
      name: row.name,
      creation_timestamp: Number(row.created_ms),
      last_updated_timestamp: Number(row.updated_ms),
      ...(row.description === null ? {} : { description: row.description }),
      ...unlessEmpty(
        "latest_versions",
        // Nested versions do not repeat the aliases, which the model itself shows.
        versions.map((version) => ({ ...version, aliases: undefined })),
      ),
      ...unlessEmpty("tags", keyValues(tags.get(row.id))),
      ...unlessEmpty(
        "aliases",
        (aliases.get(row.id) ?? []).map(({ alias, version }) => ({ alias, version: String(version) })),
      ),
    });
  }
  return json;
}
