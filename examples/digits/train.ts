/**
 * Trains the digit classifier, records the run, and registers the model. A program like any user's: it knows its arguments,
 * its environment and MLflow's REST API, nothing of the platform. See README.md for both.
 */
import { realpathSync } from "node:fs";
import { appendFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { MessageChannel } from "node:worker_threads";
import { systemClock, systemRandom } from "../../src/kernel/clock/index.js";
import type { Clock, Random } from "../../src/kernel/clock/types.js";
import { InputError, messageOf } from "../../src/kernel/errors/index.js";
import type { Split } from "./data.js";
import { DEFAULT_SPLIT_SEED, loadDigits, splitDigits } from "./data.js";
import type { EpochResult, TrainOptions, TrainResult } from "./mlp.js";
import { DEFAULT_TRAINING, evaluate, trainNetwork } from "./mlp.js";
import { encodeNetwork } from "./model.js";
import type { MetricPoint, Run, Tracking } from "./tracking.js";
import { createTracking } from "./tracking.js";

/** What surrounds the program. */
export interface TrainEnvironment {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly random: Random;
  readonly print: (line: string) => void;
}

/** What came of it; printed as the last line, as JSON. */
export interface TrainOutcome {
  readonly accuracy?: number;
  readonly bestEpoch?: number;
  readonly runId?: string;
  readonly modelName?: string;
  readonly modelVersion?: string;
  /** Nothing was trained: an earlier start had finished. */
  readonly alreadyDone?: boolean;
}

interface Settings {
  readonly training: TrainOptions;
  readonly splitSeed: number;
  readonly experiment: string;
  readonly modelName: string;
  readonly runKey: string;
  readonly output: string | undefined;
}

/** Runs the program. Throws `InputError` on bad arguments, `TrackingError` when the server refuses. */
export async function runTraining(environment: TrainEnvironment): Promise<TrainOutcome> {
  const { env, clock, random, print } = environment;
  const settings = readSettings(environment);
  const uri = env["MLFLOW_TRACKING_URI"];
  if (uri === undefined || uri === "") {
    print("MLFLOW_TRACKING_URI is not set: training without recording");
    const { outcome } = await trainAndWrite(settings, print, () => {});
    return outcome;
  }
  const token = env["MLFLOW_TRACKING_TOKEN"];
  const caFile = env["MLFLOW_TRACKING_SERVER_CERT_PATH"];
  const tracking = await createTracking({
    uri,
    ...(token === undefined || token === "" ? {} : { token }),
    ...(caFile === undefined || caFile === "" ? {} : { caFile }),
    clock,
    random,
    log: print,
  });
  try {
    return await trainRecorded(settings, tracking, environment);
  } finally {
    await tracking.close();
  }
}

async function trainRecorded(
  settings: Settings,
  tracking: Tracking,
  { clock, print }: TrainEnvironment,
): Promise<TrainOutcome> {
  const { modelName } = settings;
  const run = await tracking.findOrCreateRun(
    settings.experiment,
    settings.runKey,
    `digits-${settings.runKey}`.slice(0, 200),
  );
  const source = `${run.artifactUri}/model`;
  if (run.status === "FINISHED") {
    const modelVersion = await tracking.findOrCreateVersion(modelName, run, source);
    print(`run ${run.id} is finished already: nothing to train`);
    return { alreadyDone: true, runId: run.id, modelName, modelVersion };
  }
  print(`run ${run.id} in experiment ${settings.experiment}`);
  if (run.status !== "RUNNING") await tracking.setStatus(run, "RUNNING");
  await tracking.logBatch(run.id, { params: parametersOf(settings) });
  const metrics = createMetricLog(tracking, run, await lastLoggedEpoch(tracking, run), clock);
  const { outcome, model } = await trainAndWrite(settings, print, (result) => metrics.add(result));
  await metrics.drain();
  const accuracy = outcome.accuracy ?? 0;
  await tracking.logBatch(run.id, {
    metrics: [{ key: "test_accuracy", value: accuracy, step: outcome.bestEpoch ?? 0, timestamp: clock.now() }],
    tags: { "mlflow.source.name": "examples/digits/train.ts", "mlflow.source.type": "JOB" },
  });
  await tracking.putArtifact(run, "model/model.onnx", model);
  await tracking.putArtifact(run, "model/MLmodel", Buffer.from(describeModel(run)));
  const modelVersion = await tracking.findOrCreateVersion(modelName, run, source);
  await tracking.setStatus(run, "FINISHED");
  return { ...outcome, runId: run.id, modelName, modelVersion };
}

async function trainAndWrite(
  settings: Settings,
  print: (line: string) => void,
  onEpoch: (result: EpochResult) => void,
): Promise<{ outcome: TrainOutcome; model: Uint8Array }> {
  const split = splitDigits(await loadDigits(), settings.splitSeed);
  const result = await trainNetwork(split.train, split.validation, settings.training, async (epoch) => {
    onEpoch(epoch);
    if (epoch.epoch % 5 === 0) print(describeEpoch(epoch));
    // Sockets get their turn between epochs.
    await new Promise<void>((resolve) => setImmediate(resolve));
  });
  const { accuracy } = evaluate(result.network, split.test);
  print(describeResult(split, result, accuracy));
  const model = encodeNetwork(result.network, {
    seed: String(settings.training.seed),
    split_seed: String(settings.splitSeed),
  });
  if (settings.output !== undefined) {
    await mkdir(settings.output, { recursive: true });
    await writeFile(join(settings.output, "model.onnx"), model);
  }
  return { outcome: { accuracy, bestEpoch: result.bestEpoch }, model };
}

const describeEpoch = (epoch: EpochResult): string =>
  `epoch ${epoch.epoch}: loss ${epoch.trainLoss.toFixed(4)}, validation loss ${epoch.validationLoss.toFixed(4)}, accuracy ${epoch.validationAccuracy.toFixed(4)}`;

const describeResult = (split: Split, result: TrainResult, accuracy: number): string =>
  `stopped after ${result.history.length} epochs, best was ${result.bestEpoch}; accuracy on ${split.test.count} untouched rows: ${accuracy.toFixed(4)}`;

/** Metrics go out beside the training, several epochs in one batch when the server is slower than we are. */
function createMetricLog(
  tracking: Tracking,
  run: Run,
  after: number,
  clock: Clock,
): { add(result: EpochResult): void; drain(): Promise<void> } {
  let waiting: MetricPoint[] = [];
  let sending: Promise<void> | undefined;
  let failure: unknown;
  const flush = async (): Promise<void> => {
    while (waiting.length > 0) {
      const metrics = waiting.splice(0, 999);
      await tracking.logBatch(run.id, { metrics });
    }
  };
  const start = (): void => {
    sending ??= flush()
      .catch((error: unknown) => {
        failure ??= error;
        waiting = [];
      })
      .finally(() => {
        sending = undefined;
      });
  };
  return {
    add(result) {
      if (result.epoch <= after || failure !== undefined) return;
      const timestamp = clock.now();
      waiting.push({ key: "train_loss", value: result.trainLoss, step: result.epoch, timestamp });
      waiting.push({ key: "validation_loss", value: result.validationLoss, step: result.epoch, timestamp });
      waiting.push({ key: "validation_accuracy", value: result.validationAccuracy, step: result.epoch, timestamp });
      start();
    },
    async drain() {
      while (waiting.length > 0 || sending !== undefined) {
        start();
        await sending;
      }
      if (failure !== undefined) throw failure;
    },
  };
}

/** Training is deterministic, so a restarted program only sends what the earlier one had not. */
async function lastLoggedEpoch(tracking: Tracking, run: Run): Promise<number> {
  const steps = await Promise.all(
    ["train_loss", "validation_loss", "validation_accuracy"].map((key) => tracking.lastStep(run.id, key)),
  );
  return Math.min(...steps);
}

function parametersOf({ training, splitSeed }: Settings): Record<string, string> {
  return {
    model: "multilayer perceptron",
    hidden: training.hidden.join(","),
    optimizer: "adam",
    learning_rate: String(training.learningRate),
    weight_decay: String(training.weightDecay),
    batch_size: String(training.batchSize),
    max_epochs: String(training.epochs),
    patience: String(training.patience),
    shift_share: String(training.shiftShare),
    seed: String(training.seed),
    split_seed: String(splitSeed),
  };
}

/** MLflow's description of a model folder. */
function describeModel(run: Run): string {
  return [
    "artifact_path: model",
    "flavors:",
    "  onnx:",
    "    data: model.onnx",
    "    onnx_version: 1.12.0",
    `run_id: ${run.id}`,
    "signature:",
    `  inputs: '[{"name": "input", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 64]}}]'`,
    `  outputs: '[{"name": "label", "type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}, {"name": "probabilities", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 10]}}]'`,
    "",
  ].join("\n");
}

function readSettings({ args, env }: TrainEnvironment): Settings {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: "string" },
      "split-seed": { type: "string" },
      epochs: { type: "string" },
      output: { type: "string" },
      "run-key": { type: "string" },
    },
  });
  const number = (flag: string, value: string | undefined, fallback: number): number => {
    if (value === undefined || value === "") return fallback;
    const parsed = Number(value);
    if (!Number.isSafeInteger(parsed) || parsed < 0)
      throw new InputError(`${flag} is "${value}"; expected a whole number from 0`);
    return parsed;
  };
  const seed = number("--seed", values.seed ?? env["DIGITS_SEED"], DEFAULT_TRAINING.seed);
  const splitSeed = number("--split-seed", values["split-seed"] ?? env["DIGITS_SPLIT_SEED"], DEFAULT_SPLIT_SEED);
  const epochs = Math.max(1, number("--epochs", values.epochs ?? env["DIGITS_EPOCHS"], DEFAULT_TRAINING.epochs));
  return {
    training: { ...DEFAULT_TRAINING, seed, epochs },
    splitSeed,
    experiment: env["MLFLOW_EXPERIMENT_NAME"] ?? "digits",
    modelName: env["DIGITS_MODEL_NAME"] ?? "digits",
    runKey: values["run-key"] ?? env["DIGITS_RUN_KEY"] ?? `seed-${seed}-split-${splitSeed}-epochs-${epochs}`,
    output: values.output ?? env["DIGITS_OUTPUT"],
  };
}

async function main(): Promise<void> {
  const print = (line: string): void => {
    process.stdout.write(`${line}\n`);
  };
  // Waiting for an absent server must not end the program: the clock's timers do not hold it.
  const alive = new MessageChannel();
  alive.port1.on("message", () => undefined);
  try {
    const outcome = await runTraining({
      args: process.argv.slice(2),
      env: process.env,
      clock: systemClock,
      random: systemRandom,
      print,
    });
    print(JSON.stringify(outcome));
  } catch (error) {
    process.stderr.write(`training failed: ${messageOf(error)}\n`);
    await appendFile("/dev/termination-log", `training failed: ${messageOf(error)}\n`).catch(() => undefined);
    process.exitCode = 1;
  } finally {
    alive.port1.close();
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href)
  await main();
