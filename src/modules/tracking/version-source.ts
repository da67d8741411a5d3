import type { Json } from "../../kernel/kinds/object.js";
import { keyOfUri } from "./artifact-paths.js";
import type { Db } from "./context.js";
import { invalid } from "./errors.js";
import { type LoggedModelRow, loggedModelById } from "./logged-model-rows.js";
import { versionNumber, versionRow } from "./model-rows.js";
import { toPythonJson } from "./python-text.js";
import { checkArtifactUri } from "./rules.js";
import { runById } from "./run-rows.js";

const REGISTRATIONS_TAG = "mlflow.modelVersions";

/** What a new version says that it comes from. */
export interface Origin {
  /** As given, or the run that made the logged model; empty for none. */
  readonly runId: string;
  readonly model: LoggedModelRow | undefined;
  /** Blob keys below which its source may lie in this server's store. */
  readonly roots: readonly string[];
}

/** Looks up the run and the logged model that a version names; 404 for a logged model that is not there. */
export async function originOf(db: Db, { runId, modelId }: { runId: string; modelId: string }): Promise<Origin> {
  const model = modelId === "" ? undefined : await loggedModelById(db, modelId);
  const run = await db.selectFrom("tracking_runs").select("artifact_uri").where("id", "=", runId).executeTakeFirst();
  const roots = [model?.artifact_uri, run?.artifact_uri].map((uri) => (uri === undefined ? undefined : keyOfUri(uri)));
  return { runId: runId || (model?.source_run_id ?? ""), model, roots: roots.filter((root) => root !== undefined) };
}

/**
 * Refuses a source that its caller does not name: whoever registers a model makes its readers read there. Files of this server's
 * machine are never a source.
 */
export function checkSource(source: string, origin: Origin): void {
  checkArtifactUri("source", source);
  if (!/^[a-zA-Z][a-zA-Z0-9+.-]*:/.test(source) || /^file:/i.test(source)) {
    throw invalid(
      `Invalid model version source: '${source}'. It must be the URI of an artifact store; local paths are not allowed.`,
    );
  }
  const must = (parameter: string): Error =>
    invalid(
      `Invalid model version source: '${source}'. The ${parameter} request parameter must identify the resource that contains the source.`,
    );
  const [, run, model] = /^(?:runs:\/+([^/]+)(?:\/.*)?|models:\/+(m-[^/]+))$/.exec(source) ?? [];
  if (run !== undefined && run !== origin.runId) throw must("run_id");
  if (model !== undefined && model !== origin.model?.id) throw must("model_id");
  const key = /^mlflow-artifacts:/i.test(source) ? keyOfUri(source) : undefined;
  if (key !== undefined && !origin.roots.some((root) => key === root || key.startsWith(`${root}/`)))
    throw must("run_id");
}

/** Where the artifacts of a source lie that refers to a run, a logged model or another version. */
export async function storageLocation(db: Db, source: string): Promise<string> {
  const run = /^runs:\/+([^/]+)(\/.*)?$/.exec(source);
  if (run?.[1] !== undefined) return `${(await runById(db, run[1])).artifact_uri}${run[2] ?? ""}`;
  const model = /^models:\/+([^/]+)(?:\/([^/]+))?$/.exec(source);
  if (model?.[1] === undefined) return source;
  const [, name, version] = model;
  if (version !== undefined) return (await versionRow(db, name, versionNumber(version))).storage_location;
  return (await loggedModelById(db, name)).artifact_uri;
}

/** Notes on a logged model, in its tag for that, that it was registered. */
export async function noteRegistration(
  db: Db,
  modelId: string,
  { name, version }: { name: string; version: number },
): Promise<void> {
  const tag = await db
    .selectFrom("tracking_logged_model_tags")
    .select("value")
    .where("model_id", "=", modelId)
    .where("key", "=", REGISTRATIONS_TAG)
    .executeTakeFirst();
  const value = toPythonJson([...listOf(tag?.value), { name, version }]);
  await db
    .insertInto("tracking_logged_model_tags")
    .values({ model_id: modelId, key: REGISTRATIONS_TAG, value })
    .onConflict((conflict) => conflict.columns(["model_id", "key"]).doUpdateSet({ value }))
    .execute();
}

function listOf(text: string | undefined): Json[] {
  try {
    const value: Json = JSON.parse(text ?? "[]");
    return Array.isArray(value) ? value : [];
  } catch {
    // A client may have put anything there.
    return [];
  }
}
