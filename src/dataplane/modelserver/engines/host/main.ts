/** The program in a model's thread or process: loads the model that it is told to and runs it. */
import { isMainThread, parentPort } from "node:worker_threads";
import { messageOf } from "../../../../kernel/errors/index.js";
import { HttpError } from "../../../../kernel/http1/index.js";
import { ModelError } from "../../failures.js";
import { loadDirect } from "../load-direct.js";
import type { Engine, EngineFile } from "../types.js";
import { createFrameReader, encodeFrame, type Frame, type HostCall, type HostReply, isRecord } from "./messages.js";
import { buffersOf } from "./thread-host.js";

let engine: Engine | undefined;

async function answer(call: HostCall): Promise<HostReply> {
  const { id } = call;
  try {
    if (call.op === "load") {
      engine = await loadDirect(call.file, { threads: call.threads, arena: true });
      const { platform, inputs, outputs, batchable } = engine;
      return { id, loaded: { platform, inputs, outputs, batchable } };
    }
    if (engine === undefined) return { id, error: { message: "no model is loaded", status: 500 } };
    return { id, outputs: await engine.run(call.inputs) };
  } catch (error) {
    if (error instanceof HttpError) return { id, error: { message: error.message, status: error.status } };
    const reason = error instanceof ModelError ? { reason: error.reason } : {};
    return { id, error: { message: messageOf(error), ...reason } };
  }
}

function serveThread(port: NonNullable<typeof parentPort>): void {
  port.on("message", (call: HostCall) => {
    void answer(call).then((reply) => {
      if (reply.outputs === undefined) return port.postMessage(reply);
      const outputs = reply.outputs.map((tensor) =>
        Array.isArray(tensor.data) ? tensor : { ...tensor, data: tensor.data.slice() },
      );
      port.postMessage({ ...reply, outputs }, buffersOf(outputs));
    });
  });
}

function serveProcess(): void {
  const frames = createFrameReader(2 ** 32);
  // What a model prints must not get between the answers.
  const write = process.stdout.write.bind(process.stdout);
  process.stdout.write = process.stderr.write.bind(process.stderr);
  process.stdin.on("data", (chunk: Buffer) => {
    for (const frame of frames.push(chunk)) {
      void answer(readCall(frame)).then(({ outputs, ...head }) => {
        for (const part of encodeFrame({ ...head }, outputs ?? [])) write(part);
      });
    }
  });
  process.stdin.on("end", () => process.exit(0));
}

function readCall({ head, tensors }: Frame): HostCall {
  const { id, op, file, threads } = head;
  if (typeof id !== "number") throw new ModelError("RuntimeUnhealthy", "a call without an id");
  if (op === "run") return { id, op, inputs: tensors };
  return { id, op: "load", file: readFile(file), threads: typeof threads === "number" ? threads : 1 };
}

function readFile(value: unknown): EngineFile {
  const { kind, file, settings } = isRecord(value) ? value : {};
  if (!isKind(kind) || typeof file !== "string") throw new ModelError("RuntimeUnhealthy", "a call without a file");
  return { kind, file, settings: isRecord(settings) ? JSON.parse(JSON.stringify(settings)) : {} };
}

const KINDS: readonly EngineFile["kind"][] = ["onnx", "xgboost", "lightgbm", "sklearn", "javascript"];

function isKind(kind: unknown): kind is EngineFile["kind"] {
  return KINDS.some((each) => each === kind);
}

if (isMainThread) serveProcess();
else if (parentPort !== null) serveThread(parentPort);
