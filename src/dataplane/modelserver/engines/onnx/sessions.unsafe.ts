/**
 * Sessions of onnxruntime in three forms: its binary called directly, its binary through the package's own interface, and its
 * WebAssembly form. Directly is the usual way: the package's interface waits a turn of the event loop before each run, checks again
 * what is checked, and loads twenty files. Unsafe because none of that has types.
 */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { isMainThread } from "node:worker_threads";
import type { InferenceSession } from "onnxruntime-node";
import { messageOf } from "../../../../kernel/errors/index.js";
import { ModelError } from "../../failures.js";

/** A tensor as onnxruntime takes and gives it. */
export interface OrtTensor {
  readonly type: string;
  readonly data: unknown;
  readonly dims: readonly number[];
}

/** What a session says of an input or output; a size that is not fixed is its name, which may be empty. */
export interface OrtValue {
  readonly name: string;
  readonly isTensor: boolean;
  readonly type: string;
  readonly shape: readonly (number | string)[];
}

/** A loaded model. */
export interface OrtSession {
  readonly inputs: readonly OrtValue[];
  readonly outputs: readonly OrtValue[];
  tensor(type: string, data: unknown, dims: readonly number[]): OrtTensor;
  /** Directly: done when this returns. */
  run(feeds: Readonly<Record<string, OrtTensor>>): Promise<OrtResults> | OrtResults;
  release(): Promise<void> | void;
}

/** Outputs by their names. */
export type OrtResults = Readonly<Record<string, OrtTensor | undefined>>;

/** How a session is opened. */
export type OrtSettings = InferenceSession.SessionOptions;

/** Opens sessions. */
export type OrtRuntime = (file: string, settings: OrtSettings) => Promise<OrtSession>;

let direct: OrtRuntime | undefined;

/** The WebAssembly form. Not among what is installed with Argosy: 140 MB that few need. */
const importWasm = (): Promise<unknown> => {
  const name: string = "onnxruntime-web";
  return import(name);
};

/** Finds a form that works here. Throws `ModelError` `RuntimeUnavailable`. */
export async function loadRuntime(wanted: "wasm" | undefined, load = importWasm): Promise<OrtRuntime> {
  // onnxruntime 1.30 keeps and uploads statistics of its use unless told not to; it looks when its library is loaded.
  process.env["ORT_DISABLE_TELEMETRY"] = "1";
  let obstacle = "";
  if (wanted !== "wasm") {
    try {
      direct ??= loadDirectly();
      return direct;
    } catch {
      // Another release may lie otherwise: its own interface knows.
    }
    try {
      return throughPackage((await import("onnxruntime-node")) as Package, false);
    } catch (error) {
      obstacle = `onnxruntime has no working binary for ${process.platform}/${process.arch} on this machine: ${messageOf(error)}; `;
    }
  }
  try {
    const runtime = (await load()) as Package;
    runtime.env.wasm.numThreads = 1;
    return throughPackage(runtime, true);
  } catch (error) {
    const words = `${obstacle}its WebAssembly form is not installed (npm install onnxruntime-web)`;
    throw new ModelError("RuntimeUnavailable", words, { cause: error });
  }
}

type Package = Pick<typeof import("onnxruntime-node"), "InferenceSession" | "Tensor" | "env">;

/** The WebAssembly form knows no files. */
function throughPackage({ InferenceSession: Session, Tensor }: Package, isWasm: boolean): OrtRuntime {
  const describe = (value: InferenceSession.ValueMetadata): OrtValue =>
    value.isTensor ? value : { name: value.name, isTensor: false, type: "", shape: [] };
  return async (file, settings) => {
    const session = await (isWasm ? Session.create(await readFile(file), settings) : Session.create(file, settings));
    return {
      inputs: session.inputMetadata.map(describe),
      outputs: session.outputMetadata.map(describe),
      tensor: (type, data, dims) => new Tensor(type as "float32", data as Float32Array, dims),
      run: (feeds) => session.run(feeds as InferenceSession.FeedsType),
      release: () => session.release(),
    };
  };
}

interface NativeValue {
  readonly name: string;
  readonly isTensor: boolean;
  readonly type: number;
  readonly shape: readonly number[];
  readonly symbolicDimensions: readonly string[];
}

interface NativeSession {
  readonly inputMetadata: readonly NativeValue[];
  readonly outputMetadata: readonly NativeValue[];
  loadModel(file: string, settings: OrtSettings): void;
  run(feeds: object, fetches: object, options: object): OrtResults;
  dispose(): void;
}

interface Binding {
  readonly InferenceSession: new () => NativeSession;
  initOrtOnce(logLevel: number, tensor: unknown, isMainThread: boolean): void;
}

/** What the binary makes of its results, and reads of its inputs. */
class NativeTensor implements OrtTensor {
  readonly type: string;
  readonly data: unknown;
  readonly dims: readonly number[];
  readonly location = "cpu";

  constructor(type: string, data: unknown, dims: readonly number[]) {
    this.type = type;
    this.data = data;
    this.dims = dims;
  }
}

/** Names of element types by their number in `TensorProto.DataType`; a number without a name is refused by `describeNative`. */
const TYPES: readonly (string | undefined)[] = [
  ...[undefined, "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16"],
  ...["float64", "uint32", "uint64"],
];
const WARNINGS = 2;

function loadDirectly(): OrtRuntime {
  const require = createRequire(import.meta.url);
  const { platform, arch } = process;
  const binding = require(`onnxruntime-node/bin/napi-v6/${platform}/${arch}/onnxruntime_binding.node`) as Binding;
  binding.initOrtOnce(WARNINGS, NativeTensor, isMainThread);
  return async (file, settings) => {
    const session = new binding.InferenceSession();
    session.loadModel(file, settings);
    const outputs = session.outputMetadata.map(describeNative);
    const fetches = Object.fromEntries(outputs.map(({ name }) => [name, null]));
    const options = {};
    return {
      inputs: session.inputMetadata.map(describeNative),
      outputs,
      tensor: (type, data, dims) => new NativeTensor(type, data, dims),
      run: (feeds) => session.run(feeds, fetches, options),
      release: () => session.dispose(),
    };
  };
}

function describeNative({ name, isTensor, type, shape, symbolicDimensions }: NativeValue): OrtValue {
  if (!isTensor) return { name, isTensor, type: "", shape: [] };
  const known = TYPES[type];
  if (known === undefined) throw new ModelError("ModelLoadFailed", `Unsupported data type: ${type}`);
  const sizes = shape.map((size, index) => (size === -1 ? (symbolicDimensions[index] ?? "") : size));
  return { name, isTensor, type: known, shape: sizes };
}
