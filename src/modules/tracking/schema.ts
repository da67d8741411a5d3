import type { Migration } from "../../stores/records/index.js";

interface KeyValue {
  key: string;
  value: string;
}

interface Point {
  key: string;
  timestamp_ms: number;
  step: number;
  /** 0 where `is_nan`. */
  value: number;
  is_nan: number;
}

/** The tables of tracking. Times are epoch milliseconds, truth values 0 and 1. */
export interface TrackingTables {
  tracking_counters: { name: string; value: number };
  tracking_experiments: {
    id: number;
    name: string;
    artifact_location: string;
    lifecycle: string;
    created_ms: number;
    updated_ms: number;
  };
  tracking_experiment_tags: KeyValue & { experiment_id: number };
  tracking_runs: {
    id: string;
    experiment_id: number;
    name: string;
    user_id: string;
    status: string;
    start_ms: number;
    end_ms: number | null;
    artifact_uri: string;
    lifecycle: string;
  };
  tracking_run_tags: KeyValue & { run_id: string };
  tracking_params: KeyValue & { run_id: string };
  tracking_metrics: Point & { run_id: string };
  tracking_latest_metrics: Point & { run_id: string };
  tracking_datasets: {
    id: string;
    experiment_id: number;
    name: string;
    digest: string;
    source_type: string;
    source: string;
    schema_text: string | null;
    profile: string | null;
  };
  tracking_inputs: { run_id: string; dataset_id: string };
  tracking_input_tags: KeyValue & { run_id: string; dataset_id: string };
  tracking_model_inputs: { run_id: string; model_id: string };
  tracking_model_outputs: { run_id: string; model_id: string; step: number };
  tracking_registered_models: {
    id: number;
    name: string;
    description: string | null;
    created_ms: number;
    updated_ms: number;
    /** Highest version ever given; none is given twice. */
    last_version: number;
  };
  tracking_registered_model_tags: KeyValue & { model_id: number };
  tracking_aliases: { model_id: number; alias: string; version: number };
  tracking_versions: {
    model_id: number;
    version: number;
    source: string;
    storage_location: string;
    run_id: string;
    run_link: string;
    /** Absent after an update without one. */
    description: string | null;
    stage: string;
    logged_model_id: string | null;
    created_ms: number;
    updated_ms: number;
  };
  tracking_version_tags: KeyValue & { model_id: number; version: number };
  tracking_logged_models: {
    id: string;
    experiment_id: number;
    name: string;
    model_type: string;
    source_run_id: string;
    status: string;
    artifact_uri: string;
    created_ms: number;
    updated_ms: number;
    deleted: number;
    /** Order of creation, where times are equal. */
    position: number;
  };
  tracking_logged_model_params: KeyValue & { model_id: string };
  tracking_logged_model_tags: KeyValue & { model_id: string };
  tracking_logged_model_metrics: Point & {
    model_id: string;
    run_id: string;
    dataset_name: string;
    dataset_digest: string;
  };
}

const keyValue = (table: string, owner: string, ownerColumns: string): string =>
  `CREATE TABLE ${table} (${ownerColumns}, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (${owner}, key))`;
const point =
  "key TEXT NOT NULL, timestamp_ms BIGINT NOT NULL, step BIGINT NOT NULL, value DOUBLE PRECISION NOT NULL, is_nan INTEGER NOT NULL";

/** The schema, step by step. */
export const migrations: readonly Migration[] = [
  {
    name: "experiments and runs",
    statements: [
      "CREATE TABLE tracking_counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL)",
      `CREATE TABLE tracking_experiments (id BIGINT PRIMARY KEY, name TEXT NOT NULL UNIQUE, artifact_location TEXT NOT NULL,
        lifecycle TEXT NOT NULL, created_ms BIGINT NOT NULL, updated_ms BIGINT NOT NULL)`,
      keyValue("tracking_experiment_tags", "experiment_id", "experiment_id BIGINT NOT NULL"),
      `CREATE TABLE tracking_runs (id TEXT PRIMARY KEY, experiment_id BIGINT NOT NULL, name TEXT NOT NULL, user_id TEXT NOT NULL,
        status TEXT NOT NULL, start_ms BIGINT NOT NULL, end_ms BIGINT, artifact_uri TEXT NOT NULL, lifecycle TEXT NOT NULL)`,
      "CREATE INDEX tracking_runs_by_start ON tracking_runs (experiment_id, start_ms)",
      keyValue("tracking_run_tags", "run_id", "run_id TEXT NOT NULL"),
      keyValue("tracking_params", "run_id", "run_id TEXT NOT NULL"),
      `CREATE TABLE tracking_metrics (run_id TEXT NOT NULL, ${point}, PRIMARY KEY (run_id, key, timestamp_ms, step, value, is_nan))`,
      `CREATE TABLE tracking_latest_metrics (run_id TEXT NOT NULL, ${point}, PRIMARY KEY (run_id, key))`,
      `CREATE TABLE tracking_datasets (id TEXT PRIMARY KEY, experiment_id BIGINT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL,
        source_type TEXT NOT NULL, source TEXT NOT NULL, schema_text TEXT, profile TEXT, UNIQUE (experiment_id, name, digest))`,
      "CREATE TABLE tracking_inputs (run_id TEXT NOT NULL, dataset_id TEXT NOT NULL, PRIMARY KEY (run_id, dataset_id))",
      keyValue("tracking_input_tags", "run_id, dataset_id", "run_id TEXT NOT NULL, dataset_id TEXT NOT NULL"),
      "CREATE TABLE tracking_model_inputs (run_id TEXT NOT NULL, model_id TEXT NOT NULL, PRIMARY KEY (run_id, model_id))",
      `CREATE TABLE tracking_model_outputs (run_id TEXT NOT NULL, model_id TEXT NOT NULL, step BIGINT NOT NULL,
        PRIMARY KEY (run_id, model_id))`,
    ],
  },
  {
    name: "registry",
    statements: [
      `CREATE TABLE tracking_registered_models (id BIGINT PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT,
        created_ms BIGINT NOT NULL, updated_ms BIGINT NOT NULL, last_version BIGINT NOT NULL)`,
      keyValue("tracking_registered_model_tags", "model_id", "model_id BIGINT NOT NULL"),
      "CREATE TABLE tracking_aliases (model_id BIGINT NOT NULL, alias TEXT NOT NULL, version BIGINT NOT NULL, PRIMARY KEY (model_id, alias))",
      `CREATE TABLE tracking_versions (model_id BIGINT NOT NULL, version BIGINT NOT NULL, source TEXT NOT NULL,
        storage_location TEXT NOT NULL, run_id TEXT NOT NULL, run_link TEXT NOT NULL, description TEXT, stage TEXT NOT NULL,
        logged_model_id TEXT, created_ms BIGINT NOT NULL, updated_ms BIGINT NOT NULL, PRIMARY KEY (model_id, version))`,
      keyValue("tracking_version_tags", "model_id, version", "model_id BIGINT NOT NULL, version BIGINT NOT NULL"),
    ],
  },
  {
    name: "logged models",
    statements: [
      `CREATE TABLE tracking_logged_models (id TEXT PRIMARY KEY, experiment_id BIGINT NOT NULL, name TEXT NOT NULL,
        model_type TEXT NOT NULL, source_run_id TEXT NOT NULL, status TEXT NOT NULL, artifact_uri TEXT NOT NULL,
        created_ms BIGINT NOT NULL, updated_ms BIGINT NOT NULL, deleted INTEGER NOT NULL,
        position BIGINT NOT NULL)`,
      "CREATE INDEX tracking_logged_models_by_time ON tracking_logged_models (experiment_id, created_ms)",
      keyValue("tracking_logged_model_params", "model_id", "model_id TEXT NOT NULL"),
      keyValue("tracking_logged_model_tags", "model_id", "model_id TEXT NOT NULL"),
      `CREATE TABLE tracking_logged_model_metrics (model_id TEXT NOT NULL, run_id TEXT NOT NULL, ${point},
        dataset_name TEXT NOT NULL, dataset_digest TEXT NOT NULL,
        PRIMARY KEY (model_id, run_id, key, timestamp_ms, step, value, is_nan, dataset_name, dataset_digest))`,
    ],
  },
];
