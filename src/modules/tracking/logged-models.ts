import type { JsonObject } from "../../kernel/kinds/object.js";
import { listUnder } from "./artifacts.js";
import { type Db, type Endpoint, nextNumber, type TrackingContext } from "./context.js";
import { badValue, invalid, notFound, TrackingError } from "./errors.js";
import { checkActive, experimentById } from "./experiments.js";
import { LOGGED_MODEL_STATES, loggedModelById, loggedModelsJson } from "./logged-model-rows.js";
import type { Params } from "./params.js";
import { toPythonQuoted } from "./python-text.js";
import { checkKey, checkLength, LIMITS } from "./rules.js";
import { randomName } from "./run-names.js";

type Call = (db: Db, params: Params, id: string) => Promise<JsonObject>;

/** Calls on logged models: models that a run made, before anybody registers them. */
export function loggedModelEndpoints(context: TrackingContext): Endpoint[] {
  const { tables, clock } = context;
  const write = (method: Endpoint["method"], path: string, verb: Endpoint["verb"], call: Call): Endpoint => ({
    method,
    path: `logged-models${path}`,
    verb,
    resource: "runs",
    call: (params, parameters) => tables.write((db) => call(db, params, parameters["model_id"] ?? "")),
  });
  return [
    write("POST", "", "create", (db, params) => createModel(context, db, params)),
    {
      method: "GET",
      path: "logged-models/:model_id",
      verb: "get",
      resource: "runs",
      call: (_, path) => modelJson(tables.read, path["model_id"] ?? ""),
    },
    write("PATCH", "/:model_id", "update", (db, params, id) => finalize(db, params, { id, now: clock.now() })),
    write("DELETE", "/:model_id", "delete", async (db, _, id) => {
      await loggedModelById(db, id, { evenDeleted: true });
      await db
        .updateTable("tracking_logged_models")
        .set({ deleted: 1, updated_ms: clock.now() })
        .where("id", "=", id)
        .execute();
      return {};
    }),
    write("POST", "/:model_id/params", "update", addParams),
    write("PATCH", "/:model_id/tags", "update", setTags),
    {
      ...write("DELETE", "/:model_id/tags/:key", "update", async () => ({})),
      call: (_, path) => tables.write((db) => deleteTag(db, path["model_id"] ?? "", path["key"] ?? "")),
    },
    {
      method: "GET",
      path: "logged-models/:model_id/artifacts/directories",
      verb: "list",
      resource: "artifacts",
      call: async (params, path) => {
        const model = await loggedModelById(tables.read, path["model_id"] ?? "");
        return listUnder(context.blobs, model.artifact_uri, params.text("artifact_directory_path") ?? "");
      },
    },
  ];
}

async function modelJson(db: Db, id: string): Promise<JsonObject> {
  const [model = {}] = await loggedModelsJson(db, [await loggedModelById(db, id)]);
  return { model };
}

async function createModel(context: TrackingContext, db: Db, params: Params): Promise<JsonObject> {
  const experimentId = params.requiredText("experiment_id");
  const name = params.text("name") || randomName(context.random);
  const parameters = readPairs(params, "params");
  const tags = readPairs(params, "tags");
  checkName(name);
  const experiment = await experimentById(db, experimentId);
  checkActive(experiment);
  const id = `m-${context.random.uuid().replaceAll("-", "")}`;
  const now = context.clock.now();
  await db
    .insertInto("tracking_logged_models")
    .values({
      id,
      experiment_id: Number(experiment.id),
      name,
      model_type: params.text("model_type") ?? "",
      source_run_id: params.text("source_run_id") ?? "",
      status: "LOGGED_MODEL_PENDING",
      artifact_uri: `${experiment.artifact_location.replace(/\/+$/, "")}/models/${id}/artifacts`,
      created_ms: now,
      updated_ms: now,
      deleted: 0,
      position: await nextNumber(db, "logged model"),
    })
    .execute();
  await insertParams(db, id, parameters);
  for (const tag of tags) await upsertTag(db, id, tag);
  return modelJson(db, id);
}

/** Names of logged models become parts of paths and URIs. */
function checkName(name: string): void {
  if (!/[/:.%"']/.test(name)) return;
  const why = `Model name must be a non-empty string and cannot contain the following characters: ('/', ':', '.', '%', '"', "'")`;
  throw invalid(`Invalid model name (${toPythonQuoted(name)}) provided. ${why}`);
}

async function finalize(db: Db, params: Params, { id, now }: { id: string; now: number }): Promise<JsonObject> {
  const status = params.choice("status", LOGGED_MODEL_STATES);
  if (status === undefined)
    throw badValue(
      "status",
      params.raw("status") ?? null,
      `It must be one of ${Object.keys(LOGGED_MODEL_STATES).join(", ")}.`,
    );
  await loggedModelById(db, id);
  await db.updateTable("tracking_logged_models").set({ status, updated_ms: now }).where("id", "=", id).execute();
  return modelJson(db, id);
}

interface Pair {
  readonly key: string;
  readonly value: string;
}

function readPairs(params: Params, name: string): Pair[] {
  return params.objects(name).map((pair) => {
    const key = pair.requiredText("key");
    const value = pair.looseText("value");
    checkKey(key, "key");
    checkLength("key", key, LIMITS.key);
    checkLength("value", value, name === "tags" ? LIMITS.runTagValue : LIMITS.paramValue);
    return { key, value };
  });
}

async function addParams(db: Db, params: Params, id: string): Promise<JsonObject> {
  const parameters = readPairs(params, "params");
  await loggedModelById(db, id);
  await insertParams(db, id, parameters);
  return {};
}

async function insertParams(db: Db, id: string, parameters: readonly Pair[]): Promise<void> {
  for (const parameter of parameters) {
    const { numInsertedOrUpdatedRows = 0n } = await db
      .insertInto("tracking_logged_model_params")
      .values({ model_id: id, ...parameter })
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirstOrThrow();
    if (numInsertedOrUpdatedRows === 0n) {
      throw new TrackingError(
        "BAD_REQUEST",
        `Parameter '${parameter.key}' of the logged model is set already, and parameters never change.`,
      );
    }
  }
}

async function setTags(db: Db, params: Params, id: string): Promise<JsonObject> {
  const tags = readPairs(params, "tags");
  await loggedModelById(db, id);
  for (const tag of tags) await upsertTag(db, id, tag);
  return {};
}

async function upsertTag(db: Db, id: string, { key, value }: Pair): Promise<void> {
  await db
    .insertInto("tracking_logged_model_tags")
    .values({ model_id: id, key, value })
    .onConflict((conflict) => conflict.columns(["model_id", "key"]).doUpdateSet({ value }))
    .execute();
}

async function deleteTag(db: Db, id: string, key: string): Promise<JsonObject> {
  await loggedModelById(db, id);
  const { numDeletedRows } = await db
    .deleteFrom("tracking_logged_model_tags")
    .where("model_id", "=", id)
    .where("key", "=", key)
    .executeTakeFirstOrThrow();
  if (numDeletedRows === 0n) throw notFound(`No tag with key '${key}' found for model with ID '${id}'.`);
  return {};
}
