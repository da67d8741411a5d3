import type { Clock, Random } from "../../kernel/clock/index.js";
import type { Module } from "../../kernel/module/types.js";
import type { BlobStore } from "../../stores/blobs/index.js";
import type { Records } from "../../stores/records/index.js";
import { endpointRoutes } from "./answers.js";
import { artifactListEndpoints, artifactRoutes } from "./artifacts.js";
import type { TrackingContext } from "./context.js";
import { experimentSearchEndpoints } from "./experiment-search.js";
import { ensureDefaultExperiment, experimentEndpoints } from "./experiments.js";
import { loggedModelSearchEndpoints } from "./logged-model-search.js";
import { loggedModelEndpoints } from "./logged-models.js";
import { metricHistoryEndpoints } from "./metric-history.js";
import { modelVersionEndpoints } from "./model-versions.js";
import { registeredModelEndpoints } from "./registered-models.js";
import { registrySearchEndpoints } from "./registry-search.js";
import { runDataEndpoints } from "./run-data.js";
import { runInputEndpoints } from "./run-inputs.js";
import { runSearchEndpoints } from "./run-search.js";
import { runEndpoints } from "./runs.js";
import { migrations, type TrackingTables } from "./schema.js";
import { serviceEndpoints, serviceRoutes } from "./service.js";

export interface TrackingModuleOptions {
  readonly records: Records;
  /** Artifacts; what the S3 server serves as bucket `artifacts`. */
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly random: Random;
}

/** Brings the tables up to date and makes experiment 0; then the module is only routes. */
export async function createTrackingModule(options: TrackingModuleOptions): Promise<Module> {
  const context: TrackingContext = {
    tables: await options.records.tables<TrackingTables>("tracking", migrations),
    blobs: options.blobs,
    clock: options.clock,
    random: options.random,
  };
  await ensureDefaultExperiment(context);
  const endpoints = [
    ...experimentEndpoints(context),
    ...experimentSearchEndpoints(context),
    ...runEndpoints(context),
    ...runDataEndpoints(context),
    ...runInputEndpoints(context),
    ...runSearchEndpoints(context),
    ...metricHistoryEndpoints(context),
    ...artifactListEndpoints(context),
    ...registeredModelEndpoints(context),
    ...modelVersionEndpoints(context),
    ...registrySearchEndpoints(context),
    ...loggedModelSearchEndpoints(context),
    ...loggedModelEndpoints(context),
    ...serviceEndpoints(),
  ];
  return {
    name: "tracking",
    summary: "Experiments, runs, metrics, artifacts and the model registry, as MLflow clients expect them.",
    kinds: [],
    rules: {},
    controllers: () => [],
    routes: [...serviceRoutes(), ...endpoints.flatMap(endpointRoutes), ...artifactRoutes(context)],
  };
}
