/**
 * Tracking: experiments, runs, metrics, artifacts and the model registry, over the MLflow REST protocol.
 *
 * In: calls of MLflow clients and of training programs, already authenticated, through northbound. Out: records in SQL, artifacts
 * in the blob store. May use: kernel, stores. An artifact URI `mlflow-artifacts:/<key>` is the blob `<key>`; the S3 server that
 * serves the same store as bucket `artifacts` gives it as `s3://artifacts/<key>`, so `s3://artifacts/<experiment>/<run>/artifacts/…`
 * names what a run logged.
 */

export { createTrackingModule, type TrackingModuleOptions } from "./module.js";
