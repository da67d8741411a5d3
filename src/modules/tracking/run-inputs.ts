import type { Json, JsonObject } from "../../kernel/kinds/object.js";
import { isObject, parseJson } from "../../kernel/schema/index.js";
import type { Db, Endpoint, TrackingContext } from "./context.js";
import { unlessEmpty } from "./context.js";
import { invalid } from "./errors.js";
import type { Params } from "./params.js";
import { toPythonJson } from "./python-text.js";
import { checkLength, experimentNumber } from "./rules.js";
import { setRunTag } from "./run-data.js";
import { activeRun, type RunRow, runIdOf } from "./run-rows.js";

const MAX_DATASETS = 1000;
const HISTORY_TAG = "mlflow.log-model.history";

/** Calls that note what a run read and what it made. */
export function runInputEndpoints(context: TrackingContext): Endpoint[] {
  const { tables } = context;
  const write = (path: string, call: (db: Db, params: Params) => Promise<JsonObject>): Endpoint => ({
    method: "POST",
    path,
    verb: "update",
    resource: "runs",
    // Schemas and profiles of data sets may be large.
    maxBodyBytes: 32 * 1024 * 1024,
    call: (params) => tables.write((db) => call(db, params)),
  });
  return [
    write("runs/log-inputs", (db, params) => logInputs(context, db, params)),
    write("runs/outputs", logOutputs),
    write("runs/log-model", logModel),
    {
      method: "POST",
      path: "experiments/search-datasets",
      verb: "list",
      resource: "runs",
      call: (params) => searchDatasets(tables.read, params),
    },
  ];
}

async function logInputs(context: TrackingContext, db: Db, params: Params): Promise<JsonObject> {
  const id = runIdOf(params);
  const datasets = params.objects("datasets").filter((input) => input.has("dataset"));
  const models = params.objects("models").map((model) => model.requiredText("model_id"));
  if (datasets.length > MAX_DATASETS)
    throw invalid(`A run can read at most ${MAX_DATASETS} datasets in one request, got ${datasets.length}.`);
  const run = await activeRun(db, id);
  for (const input of datasets) await logDataset(context, db, { run, input });
  for (const modelId of models) {
    await db
      .insertInto("tracking_model_inputs")
      .values({ run_id: run.id, model_id: modelId })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  }
  return {};
}

async function logDataset(
  context: TrackingContext,
  db: Db,
  { run, input }: { run: RunRow; input: Params },
): Promise<void> {
  const dataset = input.object("dataset");
  const row = {
    id: context.random.uuid(),
    experiment_id: run.experiment_id,
    name: dataset.text("name") ?? "",
    digest: dataset.text("digest") ?? "",
    source_type: dataset.text("source_type") ?? "",
    source: dataset.text("source") ?? "",
    schema_text: dataset.text("schema") ?? null,
    profile: dataset.text("profile") ?? null,
  };
  checkLength("name", row.name, 500);
  checkLength("digest", row.digest, 36);
  checkLength("source", row.source, 65_535);
  checkLength("schema", row.schema_text ?? "", 1_048_575);
  checkLength("profile", row.profile ?? "", 16_777_215);
  await db
    .insertInto("tracking_datasets")
    .values(row)
    .onConflict((conflict) => conflict.columns(["experiment_id", "name", "digest"]).doNothing())
    .execute();
  const { id } = await db
    .selectFrom("tracking_datasets")
    .select("id")
    .where("experiment_id", "=", row.experiment_id)
    .where("name", "=", row.name)
    .where("digest", "=", row.digest)
    .executeTakeFirstOrThrow();
  await db
    .insertInto("tracking_inputs")
    .values({ run_id: run.id, dataset_id: id })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  for (const tag of input.objects("tags")) {
    const [key, value] = [tag.requiredText("key"), tag.looseText("value")];
    checkLength("key", key, 255);
    checkLength("value", value, 500);
    await db
      .insertInto("tracking_input_tags")
      .values({ run_id: run.id, dataset_id: id, key, value })
      .onConflict((conflict) => conflict.columns(["run_id", "dataset_id", "key"]).doUpdateSet({ value }))
      .execute();
  }
}

async function logOutputs(db: Db, params: Params): Promise<JsonObject> {
  const run = await activeRun(db, runIdOf(params));
  for (const model of params.objects("models")) {
    const [modelId, step] = [model.requiredText("model_id"), model.integer("step") ?? 0];
    await db
      .insertInto("tracking_model_outputs")
      .values({ run_id: run.id, model_id: modelId, step })
      .onConflict((conflict) => conflict.columns(["run_id", "model_id"]).doUpdateSet({ step }))
      .execute();
  }
  return {};
}

/** The older way of noting a model: a JSON list in a tag of the run. */
async function logModel(db: Db, params: Params): Promise<JsonObject> {
  const id = runIdOf(params);
  const text = params.requiredText("model_json");
  const model = parseObject(text);
  if (model === undefined) throw invalid(`Malformed model info. \n ${text} \n is not a valid JSON.`);
  const absent = ["run_id", "artifact_path", "utc_time_created", "flavors"].filter(
    (field) => model[field] === undefined,
  );
  if (absent.length > 0) {
    throw invalid(`Model json is missing mandatory fields: [${absent.map((field) => `'${field}'`).join(", ")}]`);
  }
  const run = await activeRun(db, id);
  const entry: JsonObject = {
    run_id: model["run_id"],
    artifact_path: model["artifact_path"],
    utc_time_created: model["utc_time_created"],
    model_uuid: model["model_uuid"] ?? null,
    flavors: model["flavors"],
  };
  const tag = await db
    .selectFrom("tracking_run_tags")
    .select("value")
    .where("run_id", "=", run.id)
    .where("key", "=", HISTORY_TAG)
    .executeTakeFirst();
  const old: Json = parseJson(tag?.value ?? "[]") ?? [];
  await setRunTag(db, run.id, { key: HISTORY_TAG, value: toPythonJson([...(Array.isArray(old) ? old : []), entry]) });
  return {};
}

function parseObject(text: string): JsonObject | undefined {
  const value = parseJson(text);
  return isObject(value) ? value : undefined;
}

async function searchDatasets(db: Db, params: Params): Promise<JsonObject> {
  const experiments = params.texts("experiment_ids").map(experimentNumber);
  if (experiments.length === 0) throw invalid("SearchDatasets request must specify at least one experiment_id.");
  if (experiments.length > 20)
    throw invalid(
      `SearchDatasets request cannot specify more than 20 experiment_ids. Received ${experiments.length} experiment_ids.`,
    );
  const rows = await db
    .selectFrom("tracking_datasets as d")
    .innerJoin("tracking_inputs as i", "i.dataset_id", "d.id")
    .innerJoin("tracking_runs as r", "r.id", "i.run_id")
    .leftJoin("tracking_input_tags as c", (join) =>
      join
        .onRef("c.run_id", "=", "i.run_id")
        .onRef("c.dataset_id", "=", "i.dataset_id")
        .on("c.key", "=", "mlflow.data.context"),
    )
    .select(["d.experiment_id", "d.name", "d.digest", "c.value as context"])
    .distinct()
    .where("d.experiment_id", "in", experiments)
    .where("r.lifecycle", "=", "active")
    .orderBy("d.name")
    .limit(1000)
    .execute();
  const summaries = rows.map(({ experiment_id, name, digest, context }) => ({
    experiment_id: String(experiment_id),
    name,
    digest,
    ...(context === null ? {} : { context }),
  }));
  return unlessEmpty("dataset_summaries", summaries);
}
