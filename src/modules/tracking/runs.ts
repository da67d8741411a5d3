import type { JsonObject } from "../../kernel/kinds/object.js";
import type { Db, Endpoint, TrackingContext } from "./context.js";
import { invalid, notFound, TrackingError } from "./errors.js";
import { checkActive, experimentById } from "./experiments.js";
import type { Params } from "./params.js";
import { setRunTag } from "./run-data.js";
import { randomName } from "./run-names.js";
import { activeRun, RUN_NAME_TAG, RUN_STATES, runById, runIdOf, runInfoJson, runsJson } from "./run-rows.js";

/** Calls that create, read and change runs themselves. */
export function runEndpoints(context: TrackingContext): Endpoint[] {
  const { tables } = context;
  const write = (
    path: string,
    verb: Endpoint["verb"],
    call: (db: Db, params: Params) => Promise<JsonObject>,
  ): Endpoint => ({
    method: "POST",
    path: `runs/${path}`,
    verb,
    resource: "runs",
    call: (params) => tables.write((db) => call(db, params)),
  });
  return [
    write("create", "create", (db, params) => createRun(context, db, params)),
    {
      method: "GET",
      path: "runs/get",
      verb: "get",
      resource: "runs",
      call: async (params) => {
        const [run = {}] = await runsJson(tables.read, [await runById(tables.read, runIdOf(params))]);
        return { run };
      },
    },
    write("update", "update", updateRun),
    write("delete", "delete", (db, params) => setLifecycle(db, params, "deleted")),
    write("restore", "update", (db, params) => setLifecycle(db, params, "active")),
    write("delete-tag", "update", deleteTag),
  ];
}

async function createRun(context: TrackingContext, db: Db, params: Params): Promise<JsonObject> {
  const experimentId = params.text("experiment_id") ?? "";
  if (experimentId === "")
    throw new TrackingError("BAD_REQUEST", "A run needs an experiment: experiment_id is missing.");
  const tags = params.objects("tags").map((tag) => ({ key: tag.looseText("key"), value: tag.looseText("value") }));
  const tagged = tags.find((tag) => tag.key === RUN_NAME_TAG)?.value ?? "";
  const given = params.text("run_name") ?? "";
  if (given !== "" && tagged !== "" && given !== tagged) {
    throw invalid(
      `Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values (run_name='${given}', mlflow.runName='${tagged}').`,
    );
  }
  const experiment = await experimentById(db, experimentId);
  checkActive(experiment);
  const name = given || tagged || randomName(context.random);
  const id = context.random.uuid().replaceAll("-", "");
  const row = {
    id,
    experiment_id: Number(experiment.id),
    name,
    user_id: params.text("user_id") ?? "",
    status: "RUNNING",
    start_ms: params.integer("start_time") ?? context.clock.now(),
    end_ms: null,
    artifact_uri: `${experiment.artifact_location.replace(/\/+$/, "")}/${id}/artifacts`,
    lifecycle: "active",
  };
  await db.insertInto("tracking_runs").values(row).execute();
  for (const tag of [...tags, { key: RUN_NAME_TAG, value: name }]) {
    await setRunTag(db, id, tag);
  }
  const [run = {}] = await runsJson(db, [row]);
  // A new run has no outputs, and the protocol leaves the member out here.
  const { outputs: _, ...shown } = run;
  return { run: shown };
}

async function updateRun(db: Db, params: Params): Promise<JsonObject> {
  const row = await activeRun(db, runIdOf(params));
  const name = params.text("run_name") ?? "";
  const status = params.choice("status", RUN_STATES) ?? row.status;
  const changed = { status, end_ms: params.integer("end_time") ?? row.end_ms, name: name === "" ? row.name : name };
  await db.updateTable("tracking_runs").set(changed).where("id", "=", row.id).execute();
  if (name !== "") await setRunTag(db, row.id, { key: RUN_NAME_TAG, value: name });
  return { run_info: runInfoJson({ ...row, ...changed }) };
}

async function setLifecycle(db: Db, params: Params, lifecycle: string): Promise<JsonObject> {
  const row = await runById(db, runIdOf(params));
  await db.updateTable("tracking_runs").set({ lifecycle }).where("id", "=", row.id).execute();
  return {};
}

async function deleteTag(db: Db, params: Params): Promise<JsonObject> {
  const id = runIdOf(params);
  const key = params.requiredText("key");
  const row = await activeRun(db, id);
  const { numDeletedRows } = await db
    .deleteFrom("tracking_run_tags")
    .where("run_id", "=", row.id)
    .where("key", "=", key)
    .executeTakeFirstOrThrow();
  if (numDeletedRows === 0n) throw notFound(`No tag with name: ${key} in run with id ${row.id}`);
  return {};
}
