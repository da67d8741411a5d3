/** Entry point of the router as a process (image `argosy.dev/inference-router`). */
import { asProcess } from "../../kernel/program/index.js";
import { runInferenceRouterProgram } from "./program.js";

await asProcess(runInferenceRouterProgram);
