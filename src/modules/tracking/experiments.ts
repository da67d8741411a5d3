import type { Selectable } from "kysely";
import type { JsonObject } from "../../kernel/kinds/object.js";
import {
  ARTIFACT_ROOT,
  type Db,
  type Endpoint,
  groupBy,
  keyValues,
  nextNumber,
  type TrackingContext,
  unlessEmpty,
} from "./context.js";
import { invalid, notFound, TrackingError } from "./errors.js";
import type { Params } from "./params.js";
import { checkArtifactUri, checkLength, checkTag, experimentNumber, LIMITS } from "./rules.js";
import type { TrackingTables } from "./schema.js";
import { chunked } from "./sql.js";

const MAX_LOCATION = 2048;

export type ExperimentRow = Selectable<TrackingTables["tracking_experiments"]>;

/** Calls that create, read and change experiments. */
export function experimentEndpoints(context: TrackingContext): Endpoint[] {
  const { tables } = context;
  const write = (
    path: string,
    verb: Endpoint["verb"],
    call: (db: Db, params: Params, now: number) => Promise<JsonObject>,
  ): Endpoint => ({
    method: "POST",
    path: `experiments/${path}`,
    verb,
    resource: "experiments",
    call: (params) => tables.write((db) => call(db, params, context.clock.now())),
  });
  const read = (path: string, call: (db: Db, params: Params) => Promise<JsonObject>): Endpoint => ({
    method: "GET",
    path: `experiments/${path}`,
    verb: "get",
    resource: "experiments",
    call: (params) => call(tables.read, params),
  });
  return [
    write("create", "create", createExperiment),
    read("get", async (db, params) => {
      const row = await experimentById(db, params.requiredText("experiment_id"));
      return { experiment: await experimentJson(db, row) };
    }),
    read("get-by-name", getByName),
    write("update", "update", renameExperiment),
    write("delete", "delete", (db, params, now) => setLifecycle(db, params, { from: "active", to: "deleted", now })),
    write("restore", "update", (db, params, now) => setLifecycle(db, params, { from: "deleted", to: "active", now })),
    write("set-experiment-tag", "update", setTag),
    write("delete-experiment-tag", "update", deleteTag),
  ];
}

/** Every server has experiment 0; makes it on an empty store. */
export async function ensureDefaultExperiment(context: TrackingContext): Promise<void> {
  const now = context.clock.now();
  await context.tables.write((db) =>
    db
      .insertInto("tracking_experiments")
      .values({
        id: 0,
        name: "Default",
        artifact_location: `${ARTIFACT_ROOT}0`,
        lifecycle: "active",
        created_ms: now,
        updated_ms: now,
      })
      .onConflict((conflict) => conflict.doNothing())
      .execute(),
  );
}

/** The experiment with this id, deleted or not; 404 when there is none. */
export async function experimentById(db: Db, id: string): Promise<ExperimentRow> {
  const number = experimentNumber(id);
  const row = Number.isSafeInteger(number)
    ? await db.selectFrom("tracking_experiments").selectAll().where("id", "=", number).executeTakeFirst()
    : undefined;
  if (row === undefined)
    throw notFound(`No Experiment with id=${number > Number.MAX_SAFE_INTEGER ? id : number} exists`);
  return row;
}

/** Refuses to change what belongs to a deleted experiment. */
export function checkActive(row: ExperimentRow): void {
  if (row.lifecycle === "active") return;
  throw invalid(`The experiment ${row.id} must be in the 'active' state. Current state is ${row.lifecycle}.`);
}

async function createExperiment(db: Db, params: Params, now: number): Promise<JsonObject> {
  const name = params.requiredText("name");
  const location = params.text("artifact_location") ?? "";
  const tags = params.objects("tags").map((tag) => ({ key: tag.looseText("key"), value: tag.looseText("value") }));
  checkLength("name", name, LIMITS.experimentName);
  for (const { key, value } of tags) checkTag(key, value, LIMITS.experimentTagValue);
  if (location !== "") checkLocation(location);
  if (await isNameTaken(db, name)) {
    throw new TrackingError(
      "RESOURCE_ALREADY_EXISTS",
      `Experiment(name=${name}) already exists. Error: the name is taken, perhaps by a deleted experiment`,
    );
  }
  const id = await nextNumber(db, "experiment");
  const artifactLocation = location === "" ? `${ARTIFACT_ROOT}${id}` : location;
  await db
    .insertInto("tracking_experiments")
    .values({ id, name, artifact_location: artifactLocation, lifecycle: "active", created_ms: now, updated_ms: now })
    .execute();
  for (const tag of tags) await upsertTag(db, id, tag);
  return { experiment_id: String(id) };
}

function checkLocation(location: string): void {
  if (/^runs:/i.test(location)) throw invalid(`Artifact location cannot be a runs:/ URI. Given: '${location}'`);
  if (location.length > MAX_LOCATION) {
    throw invalid(
      `Invalid artifact path length. The length of the artifact path cannot be greater than ${MAX_LOCATION} characters.`,
    );
  }
  if (location.includes("#")) throw invalid("'artifact_location' URL can't include fragments or params.");
  checkArtifactUri("artifact_location", location);
}

async function isNameTaken(db: Db, name: string): Promise<boolean> {
  return (
    (await db.selectFrom("tracking_experiments").select("id").where("name", "=", name).executeTakeFirst()) !== undefined
  );
}

async function getByName(db: Db, params: Params): Promise<JsonObject> {
  const name = params.requiredText("experiment_name");
  const row = await db.selectFrom("tracking_experiments").selectAll().where("name", "=", name).executeTakeFirst();
  if (row === undefined) throw notFound(`Could not find experiment with name '${name}'`);
  return { experiment: await experimentJson(db, row) };
}

async function renameExperiment(db: Db, params: Params, now: number): Promise<JsonObject> {
  const id = params.requiredText("experiment_id");
  const name = params.requiredText("new_name");
  checkLength("name", name, LIMITS.experimentName);
  const row = await experimentById(db, id);
  if (row.lifecycle !== "active") throw new TrackingError("INVALID_STATE", "Cannot rename a non-active experiment.");
  if (name !== row.name && (await isNameTaken(db, name))) {
    throw new TrackingError("BAD_REQUEST", `An experiment with name '${name}' exists already.`);
  }
  await db.updateTable("tracking_experiments").set({ name, updated_ms: now }).where("id", "=", row.id).execute();
  return {};
}

async function setLifecycle(
  db: Db,
  params: Params,
  change: { from: string; to: string; now: number },
): Promise<JsonObject> {
  const row = await experimentById(db, params.requiredText("experiment_id"));
  if (row.lifecycle !== change.from) throw notFound(`No Experiment with id=${row.id} exists`);
  await db
    .updateTable("tracking_experiments")
    .set({ lifecycle: change.to, updated_ms: change.now })
    .where("id", "=", row.id)
    .execute();
  await db.updateTable("tracking_runs").set({ lifecycle: change.to }).where("experiment_id", "=", row.id).execute();
  return {};
}

async function setTag(db: Db, params: Params, now: number): Promise<JsonObject> {
  const id = params.requiredText("experiment_id");
  const tag = { key: params.requiredText("key"), value: params.text("value") ?? "" };
  checkTag(tag.key, tag.value, LIMITS.experimentTagValue);
  const row = await experimentById(db, id);
  checkActive(row);
  await upsertTag(db, row.id, tag);
  await db.updateTable("tracking_experiments").set({ updated_ms: now }).where("id", "=", row.id).execute();
  return {};
}

async function upsertTag(db: Db, experimentId: number, { key, value }: { key: string; value: string }): Promise<void> {
  await db
    .insertInto("tracking_experiment_tags")
    .values({ experiment_id: experimentId, key, value })
    .onConflict((conflict) => conflict.columns(["experiment_id", "key"]).doUpdateSet({ value }))
    .execute();
}

async function deleteTag(db: Db, params: Params, now: number): Promise<JsonObject> {
  const id = params.requiredText("experiment_id");
  const key = params.requiredText("key");
  const row = await experimentById(db, id);
  checkActive(row);
  const { numDeletedRows } = await db
    .deleteFrom("tracking_experiment_tags")
    .where("experiment_id", "=", row.id)
    .where("key", "=", key)
    .executeTakeFirstOrThrow();
  if (numDeletedRows === 0n) throw notFound(`No tag with name: ${key} in experiment with id ${row.id}`);
  await db.updateTable("tracking_experiments").set({ updated_ms: now }).where("id", "=", row.id).execute();
  return {};
}

async function experimentJson(db: Db, row: ExperimentRow): Promise<JsonObject> {
  const [json = {}] = await experimentsJson(db, [row]);
  return json;
}

/** Experiments as the protocol shows them, with their tags. */
export async function experimentsJson(db: Db, rows: readonly ExperimentRow[]): Promise<JsonObject[]> {
  const tags: { experiment_id: number; key: string; value: string }[] = [];
  for (const ids of chunked(rows.map((row) => row.id))) {
    tags.push(
      ...(await db.selectFrom("tracking_experiment_tags").selectAll().where("experiment_id", "in", ids).execute()),
    );
  }
  const byExperiment = groupBy(tags, (tag) => Number(tag.experiment_id));
  return rows.map((row) => ({
    experiment_id: String(row.id),
    name: row.name,
    artifact_location: row.artifact_location,
    lifecycle_stage: row.lifecycle,
    creation_time: Number(row.created_ms),
    last_update_time: Number(row.updated_ms),
    ...unlessEmpty("tags", keyValues(byExperiment.get(Number(row.id)))),
    workspace: "default",
  }));
}
