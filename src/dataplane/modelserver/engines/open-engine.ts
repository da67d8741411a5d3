/** Loads a model file and decides where it runs: in the thread that answers, in one of its own, or in a process of its own. */
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { Clock } from "../../../kernel/clock/types.js";
import { messageOf } from "../../../kernel/errors/index.js";
import { type FaultKind, ModelError } from "../failures.js";
import type { EngineLimits } from "./limits.js";
import { LOADED_HERE_BYTES, loadDirect } from "./load-direct.js";
import { readNumber, readText } from "./settings.js";
import type { Engine, EngineFile } from "./types.js";

/** What opening a model needs. */
export interface OpenOptions {
  readonly threads: number;
  readonly maxRows: number;
  readonly limits: EngineLimits;
  readonly clock: Clock;
  /** The model's host failed, or is back (`undefined`). */
  readonly onFault: (fault: { readonly kind: FaultKind; readonly words: string } | undefined) => void;
}

const MAX_ANSWER_BYTES = 2 ** 30;

type Placement = "auto" | "inline" | "thread" | "process";

/** Opens a model; it has answered once when this resolves. Throws `ModelError`. */
export async function openEngine(model: EngineFile, options: OpenOptions): Promise<Engine> {
  checkAllowed(model, options.limits);
  const asked = readPlacement(model);
  const copies = readNumber(model.settings, "instances", [1, 64]) ?? 1;
  const { bytes, bounded } = await examine(model);
  const host = async (place: "thread" | "process"): Promise<Engine> => {
    const { poolEngines } = await import("./pool-engine.js");
    const first = await openHosted(model, place, options);
    const others = await Promise.all(Array.from({ length: copies - 1 }, () => openHosted(model, place, options)));
    return poolEngines([first, ...others]);
  };
  if (asked === "inline" && !bounded)
    throw new ModelError(
      "ModelRefused",
      `${model.file}: placement inline is for models whose run time their inputs bound`,
    );
  const outside = asked === "thread" || asked === "process" ? asked : placeFor(model, bounded);
  if (asked === "inline" || (asked === "auto" && bounded && bytes <= LOADED_HERE_BYTES && copies === 1)) {
    const placed = await openHere(model, options, () => host(outside));
    if (placed !== undefined) return placed;
  }
  const engine = await host(outside);
  const { blankInputs } = await import("./warm-up.js");
  try {
    await engine.run(blankInputs(engine.inputs));
  } catch (error) {
    await engine.close();
    throw failedFirst(model, error);
  }
  return engine;
}

/** Throws `ModelError` `ModelRefused` for what the server was not allowed to run. */
function checkAllowed({ kind, file }: EngineFile, limits: EngineLimits): void {
  if (kind === "python" && !file.endsWith(".py") && limits.allowPickles === "no")
    throw new ModelError(
      "ModelRefused",
      `${file} is a pickle, which runs whatever code is in it; --allow-pickles yes opens it in a process of its own. Better: export it (examples/models/export_sklearn.py, ONNX)`,
    );
  if ((kind === "python" || kind === "javascript") && !limits.allowCode)
    throw new ModelError("ModelRefused", `${file} is code, which this server may not run (--allow-code)`);
}

/** What repeats as the data say can hang in native code, which only the end of its process stops. */
const placeFor = (model: EngineFile, bounded: boolean): "thread" | "process" =>
  bounded || model.kind === "javascript" ? "thread" : "process";

function readPlacement(model: EngineFile): Placement {
  const value = readText(model.settings, "placement") ?? "auto";
  if (value === "auto" || value === "inline" || value === "thread" || value === "process") {
    if (model.kind === "python" && (value === "inline" || value === "thread"))
      throw new ModelError("ModelRefused", `${model.file}: Python models run in a process of their own only`);
    return value;
  }
  throw new ModelError(
    "ModelLoadFailed",
    `${model.file}: placement is "${value}"; expected auto, inline, thread or process`,
  );
}

async function examine(model: EngineFile): Promise<{ bytes: number; bounded: boolean }> {
  if (model.kind === "onnx") {
    const { summarizeGraph } = await import("./onnx/graph.js");
    return summarizeGraph(model.file);
  }
  const { size } = await stat(model.file);
  return { bytes: size, bounded: model.kind !== "javascript" && model.kind !== "python" };
}

async function openHere(
  model: EngineFile,
  { threads, maxRows, clock }: OpenOptions,
  host: () => Promise<Engine>,
): Promise<Engine | undefined> {
  const [engine, { placeEngine }] = await Promise.all([loadDirect(model, { threads }), import("./placed-engine.js")]);
  try {
    return await placeEngine(engine, { clock, maxRows, host });
  } catch (error) {
    await engine.close();
    throw failedFirst(model, error);
  }
}

const failedFirst = (model: EngineFile, error: unknown): ModelError =>
  error instanceof ModelError
    ? error
    : new ModelError(
        "ModelLoadFailed",
        `${model.file} was loaded, but its first inference failed: ${messageOf(error)}`,
        {
          cause: error,
        },
      );

async function openHosted(model: EngineFile, place: "thread" | "process", options: OpenOptions): Promise<Engine> {
  const { limits, clock, threads, onFault } = options;
  const { startHosted } = await import("./host/hosted-engine.js");
  const memoryBytes = readNumber(model.settings, "memory_limit_bytes", [2 ** 24, 2 ** 50]) ?? limits.memoryBytes;
  const common = { clock, memoryBytes, maxAnswerBytes: MAX_ANSWER_BYTES };
  const open = async () => {
    if (model.kind === "python") {
      const { pythonHosts } = await import("./python/python-host.js");
      const { python, allowPickles } = limits;
      const pickle = { isPickle: !model.file.endsWith(".py"), unconfined: allowPickles === "anywhere" };
      return pythonHosts({ ...common, ...pickle, python, threads, folder: dirname(model.file) });
    }
    if (place === "thread") {
      const { threadHosts } = await import("./host/thread-host.js");
      return threadHosts({ heapBytes: memoryBytes });
    }
    const { nodeHosts } = await import("./host/node-host.js");
    return nodeHosts({ ...common, cwd: dirname(model.file) });
  };
  return startHosted({
    ...{ file: model, threads, clock, open: await open() },
    loadTimeoutMs: readNumber(model.settings, "load_timeout_ms", [1, 86_400_000]) ?? limits.loadTimeoutMs,
    runTimeoutMs: readNumber(model.settings, "run_timeout_ms", [1, 86_400_000]) ?? limits.runTimeoutMs,
    onFault: (kind, words) => onFault({ kind, words }),
    onReady: () => onFault(undefined),
  });
}
