/** The methods of the services, by their paths. */
import { HttpError } from "../../../kernel/http1/index.js";
import { extensionsOf, SERVER_NAME, type ServerContext } from "../context.js";
import { completeConfig, describeModel, statisticsOf } from "../describe.js";
import { followCall } from "../payload-log/follow-call.js";
import { changeModel, listIndex } from "../repository-api.js";
import type { LoadParameters } from "../sent-models.js";
import { presentOutputs } from "../v2.js";
import type { CallContext, GrpcMethod } from "./call.js";
import { type Codec, createCodec, isPlain, type ProtoMessage, type ProtoValue } from "./codec.js";
import { FRAME_HEAD } from "./frame-head.js";
import {
  checkInferMessage,
  type InferMessage,
  type Parameter,
  type RawInferRequest,
  readInferMessage,
  writeInferMessage,
  writeStreamMessage,
} from "./infer-messages.js";
import { protoFiles } from "./protos.js";
import { createReflection } from "./reflection.js";

const INFERENCE = "inference.GRPCInferenceService";
const REPOSITORY = "inference.model_repository.ModelRepositoryService";
const HEALTH = "grpc.health.v1.Health";
const REFLECTION = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"] as const;

const INFER = { request: "inference.ModelInferRequest", response: "inference.ModelInferResponse" };
const STREAM_INFER = { ...INFER, response: "inference.ModelStreamInferResponse" };

type Handler = (request: ProtoMessage) => ProtoMessage | Promise<ProtoMessage>;

/** Finds methods by path; `reflection`: whether clients may ask what there is. */
export function createServices(context: ServerContext, reflection: boolean): (path: string) => GrpcMethod | undefined {
  const codec = createCodec(protoFiles());
  const methods = new Map<string, GrpcMethod>();
  methods.set(`/${INFERENCE}/ModelInfer`, {
    kind: "unary",
    handle: (message, call) =>
      followCall(context.payloads, { message, call, types: INFER }, async () =>
        writeInferMessage(await infer(context, readInferMessage(message), call), FRAME_HEAD),
      ),
  });
  methods.set(`/${INFERENCE}/ModelStreamInfer`, {
    kind: "stream",
    handle: (messages, call) => streamInfer(context, messages, call),
  });
  addUnary(methods, { service: INFERENCE, codec, handlers: inferenceHandlers(context) });
  addUnary(methods, { service: INFERENCE, codec, handlers: repositoryHandlers(context) });
  addUnary(methods, { service: REPOSITORY, codec, handlers: repositoryHandlers(context) });
  const served = [INFERENCE, REPOSITORY, HEALTH, ...(reflection ? REFLECTION : [])];
  const health = (request: ProtoMessage): ProtoMessage => healthOf(context, request, served);
  addUnary(methods, { service: HEALTH, codec, handlers: { Check: health } });
  methods.set(`/${HEALTH}/Watch`, {
    kind: "stream",
    handle: (messages, call) => watchHealth(context, { messages, call, codec, health }),
  });
  if (reflection) {
    const answer = createReflection(protoFiles(), served);
    for (const service of REFLECTION) {
      const names = methodTypes(service).get("ServerReflectionInfo");
      methods.set(`/${service}/ServerReflectionInfo`, {
        kind: "stream",
        handle: async function* (messages) {
          for await (const message of messages)
            yield withHead(codec.encode(names?.output ?? "", answer(codec.decode(names?.input ?? "", message))));
        },
      });
    }
  }
  return (path) => methods.get(path);
}

const withHead = (message: Buffer): Buffer => Buffer.concat([Buffer.alloc(FRAME_HEAD), message]);

function methodTypes(service: string): Map<string, { input: string; output: string }> {
  const methods = protoFiles().flatMap(({ services }) => services.get(service) ?? []);
  return new Map(methods.map(({ name, input, output }) => [name, { input, output }]));
}

function addUnary(
  methods: Map<string, GrpcMethod>,
  { service, codec, handlers }: { service: string; codec: Codec; handlers: Readonly<Record<string, Handler>> },
): void {
  const types = methodTypes(service);
  for (const [name, handler] of Object.entries(handlers)) {
    const { input = "", output = "" } = types.get(name) ?? {};
    methods.set(`/${service}/${name}`, {
      kind: "unary",
      handle: async (message) => withHead(codec.encode(output, await handler(codec.decode(input, message)))),
    });
  }
}

const textOf = (value: ProtoValue | undefined): string => (typeof value === "string" ? value : "");
const versionOf = (value: ProtoValue | undefined): string | undefined => textOf(value) || undefined;

async function infer(context: ServerContext, request: RawInferRequest, call: CallContext): Promise<InferMessage> {
  const { inference, metrics, clock } = context;
  const model = inference.find(request.modelName, request.modelVersion || undefined);
  const counters = metrics.of(model.name, model.version);
  const begun = clock.monotonicMs();
  try {
    const checked = checkInferMessage(request, model);
    const read = clock.monotonicMs();
    const timeoutMs = timeoutOf(request.parameters.get("timeout")) ?? call.timeoutMs;
    const outputs = await inference.run(model, checked.inputs, { timeoutMs, isGone: () => call.isGone() });
    const ran = clock.monotonicMs();
    const presented = presentOutputs(checked.outputs, outputs);
    const message = {
      modelName: model.name,
      modelVersion: model.version,
      id: request.id,
      outputs: presented,
      isRaw: checked.isRaw,
    };
    counters.answered(read - begun, ran - read, clock.monotonicMs() - ran, clock.now());
    return message;
  } catch (error) {
    counters.refused(clock.monotonicMs() - begun);
    throw error;
  }
}

/** The `timeout` parameter, microseconds, as milliseconds. */
function timeoutOf(value: Parameter | undefined): number | undefined {
  if (value === undefined) return undefined;
  const timeout = Number(value);
  if (typeof value === "boolean" || !(timeout >= 0))
    throw new HttpError(400, "parameter timeout must be microseconds, a number from 0");
  return timeout === 0 ? undefined : timeout / 1000;
}

/** Answers come in the order of their requests; what is wrong with one does not end the stream. */
async function* streamInfer(
  context: ServerContext,
  messages: AsyncIterable<Buffer>,
  call: CallContext,
): AsyncGenerator<Buffer> {
  for await (const message of messages) {
    try {
      yield await followCall(context.payloads, { message, call, types: STREAM_INFER }, async () => {
        const request = readInferMessage(message);
        // Each request has one answer; clients that count on it ask to be told.
        const saysFinal = request.parameters.get("triton_enable_empty_final_response") === true;
        return writeStreamMessage({ ...(await infer(context, request, call)), saysFinal }, FRAME_HEAD);
      });
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      yield writeStreamMessage({ error: error.message }, FRAME_HEAD);
    }
  }
}

function inferenceHandlers(context: ServerContext): Readonly<Record<string, Handler>> {
  const { repository, metrics, settings } = context;
  const find = (request: ProtoMessage) =>
    context.inference.find(textOf(request["name"]), versionOf(request["version"]));
  return {
    ServerLive: () => ({ live: true }),
    ServerReady: () => ({ ready: context.notReady() === undefined }),
    ServerMetadata: () => ({ name: SERVER_NAME, version: context.version, extensions: extensionsOf(context) }),
    ModelReady: (request) => {
      try {
        find(request);
        return { ready: true };
      } catch (error) {
        // A model that is there and does not answer is not ready; one that is not there is an error.
        if (error instanceof HttpError && error.status === 503) return { ready: false };
        throw error;
      }
    },
    ModelMetadata: (request) => {
      const model = find(request);
      const { inputs, outputs, ...rest } = describeModel(model, repository.versions(model.name));
      return { ...rest, inputs: inputs.map((each) => ({ ...each })), outputs: outputs.map((each) => ({ ...each })) };
    },
    ModelConfig: (request) => {
      const model = find(request);
      return { config: asProto(completeConfig(model, repository.config(model.name))) };
    },
    ModelStatistics: (request) => {
      const [name, version] = [textOf(request["name"]), textOf(request["version"])];
      if (name !== "") find(request);
      const chosen = metrics
        .all()
        .filter((each) => (name === "" || each.model === name) && (version === "" || each.version === version));
      return { model_stats: chosen.map(statisticsOf) };
    },
    TraceSetting: (request) => {
      settings.setTracing(plainSettings(request["settings"], (value) => value["value"]));
      const now = Object.entries(settings.tracing());
      return { settings: Object.fromEntries(now.map(([name, value]) => [name, { value: [value].flat() }])) };
    },
    LogSettings: (request) => {
      settings.setLogging(plainSettings(request["settings"], (value) => Object.values(value)[0]));
      const now = Object.entries(settings.logging()).map(([name, value]) => [
        name,
        { [`${{ boolean: "bool", number: "uint32", string: "string" }[typeOf(value)]}_param`]: value },
      ]);
      return { settings: Object.fromEntries(now) };
    },
    ...sharedMemoryHandlers("System"),
    ...sharedMemoryHandlers("Cuda"),
  };
}

const typeOf = (value: string | number | boolean): "string" | "number" | "boolean" =>
  typeof value === "string" ? "string" : typeof value === "number" ? "number" : "boolean";

function plainSettings(
  settings: ProtoValue | undefined,
  read: (value: ProtoMessage) => ProtoValue | undefined,
): Record<string, unknown> {
  const entries = isPlain(settings) ? Object.entries(settings) : [];
  const values = entries.map(([name, value]) => [name, isPlain(value) ? read(value) : undefined] as const);
  return Object.fromEntries(values.filter(([, value]) => !(Array.isArray(value) && value.length === 0)));
}

/** There are no regions: that can be said, and ending them is done already. */
function sharedMemoryHandlers(kind: "System" | "Cuda"): Readonly<Record<string, Handler>> {
  return {
    [`${kind}SharedMemoryStatus`]: () => ({}),
    [`${kind}SharedMemoryRegister`]: () => {
      throw new HttpError(501, "shared memory is not offered; send tensors with the request");
    },
    [`${kind}SharedMemoryUnregister`]: () => ({}),
  };
}

/** JSON as protobuf's values; nulls are left out. */
function asProto(value: unknown): ProtoMessage {
  const convert = (each: unknown): ProtoValue | undefined => {
    if (typeof each === "string" || typeof each === "number" || typeof each === "boolean") return each;
    if (Array.isArray(each)) return each.map(convert).filter((item) => item !== undefined);
    if (typeof each === "object" && each !== null)
      return Object.fromEntries(Object.entries(each).map(([key, item]) => [key, convert(item)]));
    return undefined;
  };
  const converted = convert(value);
  return isPlain(converted) ? converted : {};
}

/** Values of `ModelRepositoryParameter`. */
function loadParameters(parameters: ProtoValue | undefined): LoadParameters {
  const values: [string, LoadParameters[string]][] = [];
  for (const [key, parameter] of Object.entries(isPlain(parameters) ? parameters : {})) {
    const [value] = isPlain(parameter) ? Object.values(parameter) : [];
    if (value !== undefined && (typeof value !== "object" || value instanceof Uint8Array)) values.push([key, value]);
  }
  return Object.fromEntries(values);
}

function repositoryHandlers(context: ServerContext): Readonly<Record<string, Handler>> {
  const change =
    (action: "load" | "unload", done: string): Handler =>
    async (request) => {
      // KServe's file has the name in field 1, Triton's and MLServer's in field 2.
      const name = textOf(request["model_name"]) || textOf(request["repository_name"]);
      const { parameters } = request;
      await changeModel(context, action, name, loadParameters(parameters));
      return textOf(request["model_name"]) === "" ? { model_name: name, [done]: true } : {};
    };
  return {
    RepositoryIndex: (request) => ({
      models: listIndex(context, request["ready"] === true).map((each) => ({ ...each })),
    }),
    RepositoryModelLoad: change("load", "isLoaded"),
    RepositoryModelUnload: change("unload", "isUnloaded"),
  };
}

function healthOf(context: ServerContext, request: ProtoMessage, served: readonly string[]): ProtoMessage {
  const service = textOf(request["service"]);
  if (service !== "" && !served.includes(service))
    throw new HttpError(404, `there is no service ${service.slice(0, 100)}`);
  return { status: context.notReady() === undefined ? "SERVING" : "NOT_SERVING" };
}

const WATCH_MS = 1000;

async function* watchHealth(
  { clock }: ServerContext,
  watch: {
    messages: AsyncIterable<Buffer>;
    call: CallContext;
    codec: Codec;
    health: (request: ProtoMessage) => ProtoMessage;
  },
): AsyncGenerator<Buffer> {
  const { codec, call } = watch;
  const stop = new AbortController();
  for await (const message of watch.messages) {
    const request = codec.decode(`${HEALTH.slice(0, -6)}HealthCheckRequest`, message);
    let last: ProtoValue | undefined;
    while (!call.isGone()) {
      const { status } = statusFor(watch.health, request);
      if (status !== last) yield withHead(codec.encode(`${HEALTH.slice(0, -6)}HealthCheckResponse`, { status }));
      last = status;
      await clock.sleep(WATCH_MS, stop.signal);
    }
    return;
  }
}

/** Who watches a service that is not there is told so when it comes. */
function statusFor(health: (request: ProtoMessage) => ProtoMessage, request: ProtoMessage): ProtoMessage {
  try {
    return health(request);
  } catch {
    return { status: "SERVICE_UNKNOWN" };
  }
}
