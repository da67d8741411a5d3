/** Models and transformers that people write in JavaScript (docs/model-server.md has their interface). */
import { basename, dirname } from "node:path";
import { pathToFileURL } from "node:url";
import { messageOf } from "../../../../kernel/errors/index.js";
import { HttpError } from "../../../../kernel/http1/index.js";
import type { TensorSpec, TensorValue } from "../../../../kernel/tensors/index.js";
import { ModelError } from "../../failures.js";
import { findModelFile, TRANSFORMER } from "../../model-file.js";
import { isRecord, readSpec } from "../host/messages.js";
import type { Engine, EngineFile } from "../types.js";
import { namedTensors, tensorFrom } from "./values.js";

type Member = (...args: readonly unknown[]) => unknown;

/** What a module may have, as functions that are called on what has them. */
interface Members {
  readonly load?: Member;
  readonly preprocess?: Member;
  readonly predict?: Member;
  readonly postprocess?: Member;
  readonly close?: Member;
}

/** Loads `model.js`, or `transformer.js` around the model beside it. Throws `ModelError` naming what is wrong with the module. */
export async function loadJavascript(model: EngineFile, options: { readonly threads: number }): Promise<Engine> {
  const { file } = model;
  const inner = TRANSFORMER.test(basename(file)) ? await loadInner(model, options) : undefined;
  const { owner, members } = await readModule(file);
  const inputs = specsOf(owner["inputs"], { file, name: "inputs" }) ?? inner?.inputs;
  const outputs = specsOf(owner["outputs"], { file, name: "outputs" }) ?? inner?.outputs;
  if (inputs === undefined || outputs === undefined)
    throw new ModelError(
      "ModelLoadFailed",
      `${file} must export inputs and outputs: lists of { name, datatype, shape }`,
    );
  if (inner === undefined && members.predict === undefined)
    throw new ModelError("ModelLoadFailed", `${file} must export a function predict`);
  const context = {
    folder: dirname(file),
    parameters: model.settings,
    ...(inner === undefined ? {} : { model: { run: (given: unknown) => runInner(inner, given) } }),
  };
  await callLoad(members, context, file);
  const batchable = owner["batchable"] === true && [...inputs, ...outputs].every(({ shape }) => shape[0] === -1);
  return {
    platform: inner?.platform ?? "javascript",
    ...{ inputs, outputs, batchable, concurrency: 1, memoryBytes: 0 },
    async run(values) {
      const before = namedTensors(values);
      const ready = members.preprocess === undefined ? before : await call(members.preprocess, before, context);
      const predicted = members.predict === undefined ? undefined : await call(members.predict, ready, context);
      const made = members.predict === undefined && inner !== undefined ? await runInner(inner, ready) : predicted;
      const after = members.postprocess === undefined ? made : await call(members.postprocess, made, context);
      return outputs.map((spec) => readOutput(spec, after, file));
    },
    async close() {
      await members.close?.();
      await inner?.close();
    },
  };
}

async function loadInner(model: EngineFile, options: { readonly threads: number }): Promise<Engine> {
  const { loadDirect } = await import("../load-direct.js");
  const inner = await findModelFile(dirname(model.file), undefined, { withTransformer: false });
  return loadDirect({ ...inner, settings: model.settings }, options);
}

async function runInner(inner: Engine, given: unknown): Promise<Record<string, TensorValue>> {
  return namedTensors(await inner.run(inner.inputs.map((spec) => readOutput(spec, given, "the model's input"))));
}

async function readModule(file: string): Promise<{ owner: Readonly<Record<string, unknown>>; members: Members }> {
  let module: unknown;
  try {
    module = await import(pathToFileURL(file).href);
  } catch (error) {
    throw new ModelError("ModelLoadFailed", `${file} cannot be imported: ${messageOf(error)}`, { cause: error });
  }
  const owner = ownerOf(isRecord(module) ? module : {});
  const member = (name: string): Record<string, Member> => {
    const value = owner[name];
    if (value === undefined) return {};
    if (typeof value !== "function") throw new ModelError("ModelLoadFailed", `${file}: ${name} must be a function`);
    return { [name]: (...args) => value.apply(owner, args) };
  };
  const members: Members = Object.assign({}, ...["load", "preprocess", "predict", "postprocess", "close"].map(member));
  return { owner, members };
}

/** The exports themselves, those of a CommonJS module, or an instance of the class `Model` among them. */
function ownerOf(module: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { default: standard, Model } = module;
  if (typeof Model === "function") return Reflect.construct(Model, []);
  if (typeof standard === "function") return Reflect.construct(standard, []);
  return isRecord(standard) ? { ...standard, ...module } : module;
}

async function callLoad(members: Members, context: unknown, file: string): Promise<void> {
  try {
    await members.load?.(context);
  } catch (error) {
    throw new ModelError("ModelLoadFailed", `${file}: load failed: ${messageOf(error)}`, { cause: error });
  }
}

/** An error of the model's own may name the client's status: `Object.assign(new Error("…"), { status: 422 })`. */
async function call(member: Member, value: unknown, context: unknown): Promise<unknown> {
  try {
    return await member(value, context);
  } catch (error) {
    const status = isRecord(error) || error instanceof Error ? Reflect.get(error, "status") : undefined;
    const isClients = typeof status === "number" && status >= 400 && status < 500;
    throw new HttpError(isClients ? status : 500, `the model could not compute: ${messageOf(error).slice(0, 400)}`);
  }
}

function specsOf(value: unknown, { file, name }: { file: string; name: string }): TensorSpec[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || value.length === 0)
    throw new ModelError("ModelLoadFailed", `${file}: ${name} must be a list of { name, datatype, shape }`);
  return value.map((each: unknown) => {
    try {
      return readSpec(each);
    } catch (error) {
      throw new ModelError("ModelLoadFailed", `${file}: ${name}: ${messageOf(error)}`, { cause: error });
    }
  });
}

function readOutput(spec: TensorSpec, made: unknown, whose: string): TensorValue {
  const value = isRecord(made) ? made[spec.name] : undefined;
  if (value === undefined) throw new HttpError(500, `${whose}: nothing was given for ${spec.name}`);
  return tensorFrom(spec, value);
}
