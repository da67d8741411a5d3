import { Command } from "commander";
import { runGateway } from "../../dataplane/gateway/index.js";
import { INFERENCE_ROUTER_USAGE, runInferenceRouterProgram } from "../../dataplane/graph/index.js";
import { MODEL_SERVER_USAGE, runModelServerProgram } from "../../dataplane/modelserver/index.js";
import { systemClock, systemRandom } from "../../kernel/clock/index.js";
import { createLogger } from "../../kernel/log/index.js";
import { type CliContext, commandWithExamples } from "../context.js";
import { untilSignal } from "../platform/signals.js";
import { imagesCommand } from "./images.js";

/** Programs of their own that the platform starts, and that can be run alone; and the images in which they run elsewhere. */
export function programCommands(context: CliContext): Command[] {
  return [
    gatewayCommand(context),
    modelServerCommand(context),
    inferenceRouterCommand(context),
    imagesCommand(context),
  ];
}

function gatewayCommand({ terminal }: CliContext): Command {
  return commandWithExamples("gateway", "Run the built-in gateway on a directory with a table.json.", [
    "argosy gateway --directory .argosy/gateway",
  ])
    .requiredOption("--directory <dir>", "holds table.json; state, admin socket and pid file are put there")
    .action(async ({ directory }: { directory: string }) => {
      const log = createLogger({ clock: systemClock, level: "info", write: (line) => terminal.err(line) });
      const gateway = await runGateway({ directory, clock: systemClock, random: systemRandom, log });
      await untilSignal();
      await gateway.close();
    });
}

function modelServerCommand({ terminal, exit }: CliContext): Command {
  return new Command("model-server")
    .description(
      "Serve models (ONNX, scikit-learn, XGBoost, LightGBM, JavaScript, Python) by V1, V2 (REST, gRPC), OpenAI and TensorFlow Serving.",
    )
    .addHelpText(
      "after",
      `\n${MODEL_SERVER_USAGE}\nExamples:\n  argosy model-server --repository models --http 8080\n  argosy model-server --model-name digits --model-dir ./model --host 127.0.0.1`,
    )
    .usage("[OPTION…]")
    .allowUnknownOption()
    .argument("[options...]", "see below")
    .action(async (args: string[]) => {
      const log = createLogger({ clock: systemClock, level: "info", write: (line) => terminal.err(line) });
      const stopped = untilSignal().then(() => undefined);
      exit(
        await runModelServerProgram({ args, env: process.env, clock: systemClock, random: systemRandom, log, stopped }),
      );
    });
}

function inferenceRouterCommand({ terminal, exit }: CliContext): Command {
  return new Command("inference-router")
    .description("Take requests through a graph of models, as an InferenceGraph describes it.")
    .addHelpText(
      "after",
      `\n${INFERENCE_ROUTER_USAGE}\nExamples:\n  argosy inference-router --graph graph.json --http 8080`,
    )
    .usage("[OPTION…]")
    .allowUnknownOption()
    .argument("[options...]", "see below")
    .action(async (args: string[]) => {
      const log = createLogger({ clock: systemClock, level: "info", write: (line) => terminal.err(line) });
      const stopped = untilSignal().then(() => undefined);
      const surroundings = { args, env: process.env, clock: systemClock, random: systemRandom, log, stopped };
      exit(await runInferenceRouterProgram(surroundings));
    });
}
