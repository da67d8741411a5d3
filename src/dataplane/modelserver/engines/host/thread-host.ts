/** A model in a worker thread of this process. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { packageRoot } from "../../../../kernel/assets/index.js";
import { messageOf } from "../../../../kernel/errors/index.js";
import type { TensorValue } from "../../../../kernel/tensors/index.js";
import type { HostReply } from "./messages.js";
import type { OpenHost } from "./types.js";

/** Limits of a thread. */
export interface ThreadLimits {
  /** Most bytes of its JavaScript heap. */
  readonly heapBytes: number;
}

/** The worker's program, whether this code runs from `src` or from `dist`. */
export function workerFile(): string {
  const beside = fileURLToPath(new URL("./main.js", import.meta.url));
  return existsSync(beside)
    ? beside
    : join(packageRoot(), "dist", "src", "dataplane", "modelserver", "engines", "host", "main.js");
}

/** Threads with nothing of this process' environment and standard input. */
export function threadHosts(limits: ThreadLimits): OpenHost {
  return (events) => {
    // The library looks at the process' environment, which a thread has no hand in.
    process.env["ORT_DISABLE_TELEMETRY"] = "1";
    const worker = new Worker(workerFile(), {
      env: {},
      stdin: false,
      resourceLimits: { maxOldGenerationSizeMb: Math.max(16, Math.ceil(limits.heapBytes / 2 ** 20)) },
    });
    let isOver = false;
    const end = (kind: "crash" | "memory", words: string): void => {
      if (isOver) return;
      isOver = true;
      events.ended(kind, words);
    };
    worker.on("message", (reply: HostReply) => {
      if (!isOver) events.replied(reply);
    });
    worker.on("messageerror", (error) => end("crash", messageOf(error)));
    worker.on("error", (error) => {
      const memory = "code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY";
      end(memory ? "memory" : "crash", messageOf(error));
    });
    worker.on("exit", (code) => end("crash", `its thread ended with code ${code}`));
    // The server's sockets hold the process, not its models.
    worker.unref();
    return {
      send(call) {
        if (call.op === "load") return worker.postMessage(call);
        const inputs = call.inputs.map(ownData);
        worker.postMessage({ ...call, inputs }, buffersOf(inputs));
      },
      kill() {
        isOver = true;
        // A run of native code is not cut: the thread ends after it.
        void worker.terminate();
      },
      memoryBytes: () => 0,
    };
  };
}

/** Copies what is a window into a greater buffer: sending it would send all of that, and take it from others. */
function ownData(tensor: TensorValue): TensorValue {
  return Array.isArray(tensor.data) ? tensor : { ...tensor, data: tensor.data.slice() };
}

/** The buffers that may go over instead of being copied. */
export function buffersOf(tensors: readonly TensorValue[]): ArrayBuffer[] {
  return tensors.flatMap(({ data }) =>
    !Array.isArray(data) && data.buffer instanceof ArrayBuffer ? [data.buffer] : [],
  );
}
