/** Entry point of the model server as a process (image `argosy.dev/model-server`). */
import { asProcess } from "../../kernel/program/index.js";
import { runModelServerProgram } from "./program.js";

await asProcess(runModelServerProgram);
