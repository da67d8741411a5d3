import type { JsonObject } from "../../kernel/kinds/object.js";
import type { Db, Endpoint, TrackingContext } from "./context.js";
import { invalid } from "./errors.js";
import { canonicalStage, modelByName, type VersionRow, versionNumber, versionRow, versionsJson } from "./model-rows.js";
import type { Params } from "./params.js";
import { checkModelName, checkTag, LIMITS } from "./rules.js";
import { checkSource, noteRegistration, originOf, storageLocation } from "./version-source.js";

const PROMPT_TAG = "mlflow.prompt.is_prompt";

type Write = (db: Db, params: Params, now: number) => Promise<JsonObject>;

/** Calls on versions of registered models. */
export function modelVersionEndpoints({ tables, clock }: TrackingContext): Endpoint[] {
  const write = (method: Endpoint["method"], path: string, verb: Endpoint["verb"], call: Write): Endpoint => ({
    method,
    path: `model-versions/${path}`,
    verb,
    resource: "registeredmodels",
    call: (params) => tables.write((db) => call(db, params, clock.now())),
  });
  const common = { method: "GET", verb: "get", resource: "registeredmodels" } as const;
  return [
    write("POST", "create", "create", createVersion),
    {
      ...common,
      path: "model-versions/get",
      call: async (params) => versionJson(tables.read, await versionOf(tables.read, params)),
    },
    {
      ...common,
      path: "model-versions/get-download-uri",
      call: async (params) => ({ artifact_uri: (await versionOf(tables.read, params)).storage_location }),
    },
    write("PATCH", "update", "update", updateVersion),
    write("DELETE", "delete", "delete", deleteVersion),
    write("POST", "transition-stage", "update", transitionStage),
    write("POST", "set-tag", "update", setTag),
    write("DELETE", "delete-tag", "update", deleteTag),
  ];
}

/** Where the artifacts of a version lie. */
export async function versionSource(db: Db, name: string, version: string): Promise<string> {
  return (await versionRow(db, name, versionNumber(version))).storage_location;
}

function versionOf(db: Db, params: Params): Promise<VersionRow> {
  const name = params.requiredText("name");
  const version = params.requiredText("version");
  return versionRow(db, name, versionNumber(version));
}

async function versionJson(db: Db, row: VersionRow): Promise<JsonObject> {
  const [json = {}] = await versionsJson(db, [row]);
  return { model_version: json };
}

async function createVersion(db: Db, params: Params, now: number): Promise<JsonObject> {
  const name = params.requiredText("name");
  const source = params.requiredText("source");
  const tags = params.objects("tags").map((tag) => ({ key: tag.looseText("key"), value: tag.looseText("value") }));
  for (const { key, value } of tags) checkTag(key, value, LIMITS.registryTagValue);
  checkModelName(name);
  const origin = await originOf(db, { runId: params.text("run_id") ?? "", modelId: params.text("model_id") ?? "" });
  const isPrompt = tags.some((tag) => tag.key === PROMPT_TAG);
  if (!isPrompt) checkSource(source, origin);
  const model = await modelByName(db, name);
  const location = await storageLocation(db, source);
  const version = Number(model.last_version) + 1;
  const changed = { last_version: version, updated_ms: now };
  await db.updateTable("tracking_registered_models").set(changed).where("id", "=", model.id).execute();
  await db
    .insertInto("tracking_versions")
    .values({
      model_id: model.id,
      version,
      source,
      storage_location: location,
      run_id: origin.runId,
      run_link: params.text("run_link") ?? "",
      description: params.text("description") ?? "",
      stage: "None",
      logged_model_id: origin.model?.id ?? null,
      created_ms: now,
      updated_ms: now,
    })
    .execute();
  for (const { key, value } of tags) await upsertTag(db, { model_id: model.id, version, key, value });
  if (origin.model !== undefined) await noteRegistration(db, origin.model.id, { name, version });
  return versionJson(db, await versionRow(db, name, version));
}

async function updateVersion(db: Db, params: Params, now: number): Promise<JsonObject> {
  const row = await versionOf(db, params);
  await change(db, row, { description: params.text("description") || null, updated_ms: now });
  return versionJson(db, await versionRow(db, row.name, row.version));
}

async function change(
  db: Db,
  row: VersionRow,
  set: { description?: string | null; stage?: string; updated_ms: number },
): Promise<void> {
  await db
    .updateTable("tracking_versions")
    .set(set)
    .where("model_id", "=", row.model_id)
    .where("version", "=", row.version)
    .execute();
}

async function deleteVersion(db: Db, params: Params, now: number): Promise<JsonObject> {
  const row = await versionOf(db, params);
  for (const table of ["tracking_version_tags", "tracking_aliases", "tracking_versions"] as const) {
    await db.deleteFrom(table).where("model_id", "=", row.model_id).where("version", "=", row.version).execute();
  }
  await db.updateTable("tracking_registered_models").set({ updated_ms: now }).where("id", "=", row.model_id).execute();
  return {};
}

async function transitionStage(db: Db, params: Params, now: number): Promise<JsonObject> {
  const name = params.requiredText("name");
  const version = params.requiredText("version");
  const given = params.requiredText("stage");
  const archive = params.boolean("archive_existing_versions") ?? false;
  const stage = canonicalStage(given);
  if (archive && stage !== "Staging" && stage !== "Production") {
    throw invalid(
      `Model version transition cannot archive existing model versions because '${stage}' is not an Active stage. Valid stages are Staging, Production`,
    );
  }
  const row = await versionRow(db, name, versionNumber(version));
  if (archive) {
    await db
      .updateTable("tracking_versions")
      .set({ stage: "Archived", updated_ms: now })
      .where("model_id", "=", row.model_id)
      .where("stage", "=", stage)
      .where("version", "!=", row.version)
      .execute();
  }
  await change(db, row, { stage, updated_ms: now });
  await db.updateTable("tracking_registered_models").set({ updated_ms: now }).where("id", "=", row.model_id).execute();
  return versionJson(db, await versionRow(db, name, row.version));
}

async function setTag(db: Db, params: Params): Promise<JsonObject> {
  const name = params.requiredText("name");
  const version = params.requiredText("version");
  const tag = { key: params.requiredText("key"), value: params.text("value") ?? "" };
  checkTag(tag.key, tag.value, LIMITS.registryTagValue);
  const row = await versionRow(db, name, versionNumber(version));
  await upsertTag(db, { model_id: row.model_id, version: row.version, ...tag });
  return {};
}

async function upsertTag(
  db: Db,
  tag: { model_id: number; version: number; key: string; value: string },
): Promise<void> {
  await db
    .insertInto("tracking_version_tags")
    .values(tag)
    .onConflict((conflict) => conflict.columns(["model_id", "version", "key"]).doUpdateSet({ value: tag.value }))
    .execute();
}

async function deleteTag(db: Db, params: Params): Promise<JsonObject> {
  const name = params.requiredText("name");
  const version = params.requiredText("version");
  const key = params.requiredText("key");
  const row = await versionRow(db, name, versionNumber(version));
  await db
    .deleteFrom("tracking_version_tags")
    .where("model_id", "=", row.model_id)
    .where("version", "=", row.version)
    .where("key", "=", key)
    .execute();
  return {};
}
