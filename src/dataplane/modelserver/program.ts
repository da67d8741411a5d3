/** The model server as a program: what it is told to do, signals and last words. */
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { InputError, messageOf } from "../../kernel/errors/index.js";
import { type Program, runProgram } from "../../kernel/program/index.js";
import { type Arguments, MODEL_SERVER_USAGE, parseArguments } from "./arguments.js";
import { expectModel } from "./engines/load-direct.js";
import { ModelError } from "./failures.js";
import type { PayloadLog } from "./payload-log/log.js";
import type { ModelServerOptions } from "./server.js";
import type { FetchOptions } from "./storage/index.js";
import type { ListedFile } from "./storage/types.js";

/** Runs until stopped; returns the exit code: 0, 1 when the model could not be had, 2 for bad arguments. */
export const runModelServerProgram = (program: Program): Promise<number> =>
  runProgram(
    "model-server",
    () => run(program),
    (error) => lastWords(program, error),
  );

async function run(program: Program): Promise<number> {
  const parsed = parseArguments(program);
  if (parsed === "help") {
    process.stdout.write(MODEL_SERVER_USAGE);
    return 0;
  }
  if (parsed.clear !== undefined) return clearOnly(parsed.clear, program);
  if (parsed.forwardTo !== undefined) return forward(parsed, parsed.forwardTo, program);
  return parsed.fetchTo === undefined ? serve(parsed, program) : fetchOnly(parsed, parsed.fetchTo, program);
}

async function serve(parsed: Arguments, program: Program): Promise<number> {
  const { clock, log } = program;
  // Late: who only fetches a model needs none of it.
  const [payloads, { runModelServer }] = await Promise.all([openLog(parsed, program), import("./server.js")]);
  const server = await runModelServer({
    source: sourceOf(parsed, program),
    ...(parsed.repository === undefined ? { expects: parsed.modelName ?? DEFAULT_NAME } : {}),
    host: parsed.host,
    port: parsed.port,
    clock,
    log,
    random: program.random,
    grpcReflection: parsed.grpcReflection,
    ...(parsed.grpcPort === undefined ? {} : { grpcPort: parsed.grpcPort }),
    ...(parsed.otlpEndpoint === undefined ? {} : { otlpEndpoint: parsed.otlpEndpoint }),
    ...(parsed.maxConcurrent === undefined ? {} : { maxConcurrent: parsed.maxConcurrent }),
    ...(parsed.maxQueued === undefined ? {} : { maxQueued: parsed.maxQueued }),
    ...(parsed.requestTimeoutMs === undefined ? {} : { requestTimeoutMs: parsed.requestTimeoutMs }),
    ...(parsed.maxBatchRows === undefined ? {} : { maxBatchRows: parsed.maxBatchRows }),
    ...(parsed.maxBatchDelayMs === undefined ? {} : { maxBatchDelayMs: parsed.maxBatchDelayMs }),
    ...(parsed.maxBodyBytes === undefined ? {} : { maxBodyBytes: parsed.maxBodyBytes }),
    ...(parsed.threads === undefined ? {} : { threads: parsed.threads }),
    ...(parsed.memoryBudgetBytes === undefined ? {} : { memoryBudgetBytes: parsed.memoryBudgetBytes }),
    limits: parsed.limits,
    ...(payloads === undefined ? {} : { payloads }),
    ...(await configuredModels(parsed, program)),
  });
  process.stdout.write(`listening on ${server.url}\n`);
  if (server.grpcPort !== undefined) process.stdout.write(`gRPC on ${parsed.host}:${server.grpcPort}\n`);
  const failure = server.loaded.then(
    () => new Promise<never>(() => undefined),
    async (error: unknown) => {
      await lastWords(program, error);
      process.stderr.write(`model-server: ${describeFailure(error)}\n`);
      return parsed.exitOnFailure ? 1 : new Promise<never>(() => undefined);
    },
  );
  const code = await Promise.race([failure, program.stopped.then(() => 0)]);
  await server.close();
  return code;
}

/** How a forwarder ends: as a model server does. */
const FORWARDER_END = { delayMs: 500, drainMs: 20_000, deliverMs: 5_000 };

async function forward(
  parsed: Arguments,
  upstream: { readonly host: string; readonly port: number },
  program: Program,
): Promise<number> {
  const payloads = await openLog(parsed, program);
  if (payloads === undefined) throw new InputError("--forward-to needs --log-payloads");
  const { startForwarder } = await import("./payload-log/forwarder.js");
  const { host, port, metricsPort } = parsed;
  const forwarder = await startForwarder({
    ...{ host, port, upstream, payloads, clock: program.clock },
    ...(metricsPort === undefined ? {} : { metricsPort }),
  });
  process.stdout.write(`forwarding ${host}:${forwarder.port} to ${upstream.host}:${upstream.port}\n`);
  await program.stopped;
  await forwarder.close(FORWARDER_END);
  return 0;
}

/** The models that a file lists, where one was given. */
async function configuredModels(parsed: Arguments, program: Program): Promise<Pick<ModelServerOptions, "configured">> {
  const { modelConfig: file, repository, storeConfigs } = parsed;
  if (file === undefined || repository === undefined) return {};
  const { ConfiguredModels } = await import("./configured-models.js");
  const fetch = (uri: string, destination: string, signal: AbortSignal): Promise<string> => {
    const own = storeConfigs[/^([^:]+):/.exec(uri)?.[1] ?? ""];
    const settings = own === undefined ? {} : { storageConfig: own };
    return fetchWith({ ...parsed, modelUri: uri, ...settings }, destination, program, {
      retryForMs: FETCH_ONLY_MS,
      signal,
    });
  };
  const { clock, log } = program;
  // Hidden, so that it is no model itself.
  return { configured: new ConfiguredModels({ file, folder: `${repository}/.configured`, fetch, clock, log }) };
}

async function openLog({ payloads }: Arguments, program: Program): Promise<PayloadLog | undefined> {
  if (payloads === undefined) return undefined;
  // Late: most servers log nothing, and need none of its clients.
  const [{ readPayloadLog }, { openPayloadLog }] = await Promise.all([
    import("./payload-log/settings.js"),
    import("./payload-log/open.js"),
  ]);
  return openPayloadLog(readPayloadLog(payloads), program);
}

/** Of the one model, where nobody names it. */
const DEFAULT_NAME = "model";

function sourceOf(parsed: Arguments, program: Program): ModelServerOptions["source"] {
  if (parsed.repository !== undefined) return { repository: parsed.repository };
  const name = parsed.modelName ?? DEFAULT_NAME;
  const { modelDir, modelUri } = parsed;
  if (modelDir !== undefined && modelUri === undefined) return { name, folder: modelDir };
  const destination = modelDir ?? `${parsed.cache}/served/${encodeURIComponent(name)}`;
  return async (report, signal) => {
    // A server that stays goes on trying; one that exits leaves that to whoever restarts it.
    const retryForMs = parsed.exitOnFailure ? FETCH_ONLY_MS : Number.POSITIVE_INFINITY;
    const onListed = (files: readonly ListedFile[]): void => void expectModel(files);
    const bring = () => fetchWith(parsed, destination, program, { onListed, onRetry: report, signal, retryForMs });
    const folder = await (modelDir === undefined ? bring() : once(modelDir, modelUri ?? "", bring));
    if (parsed.codeElsewhere) await refuseCode(folder);
    return { name, folder };
  };
}

/** A container that starts again serves what it fetched, as after an init container: the store may be away, or hold another model by now. */
async function once(folder: string, uri: string, bring: () => Promise<string>): Promise<string> {
  const mark = join(folder, ".fetched");
  if ((await readFile(mark, "utf8").catch(() => "")) === uri) return folder;
  const found = await bring();
  if (found === folder) await writeFile(mark, uri);
  return found;
}

async function refuseCode(folder: string): Promise<void> {
  const { findCode } = await import("./model-file.js");
  const code = await findCode(folder);
  if (code !== undefined)
    throw new ModelError(
      "ModelIsCode",
      `${code} is code, and this server holds the keys of the store that it came from`,
    );
}

/** Short: what restarts a container shows its last words meanwhile. */
const FETCH_ONLY_MS = 15_000;

async function clearOnly(folder: string, program: Program): Promise<number> {
  try {
    await rm(folder, { recursive: true, force: true });
    return 0;
  } catch (error) {
    await lastWords(program, error);
    process.stderr.write(`model-server: ${describeFailure(error)}\n`);
    return 1;
  }
}

async function fetchOnly(parsed: Arguments, destination: string, program: Program): Promise<number> {
  try {
    await fetchWith(parsed, destination, program, { retryForMs: FETCH_ONLY_MS });
    return 0;
  } catch (error) {
    await lastWords(program, error);
    process.stderr.write(`model-server: ${describeFailure(error)}\n`);
    return 1;
  }
}

async function fetchWith(
  { modelUri = "", cache, cacheBytes, maxBytes, storageConfig }: Arguments,
  destination: string,
  { clock, random, log, env }: Program,
  more: Pick<FetchOptions, "onListed" | "onRetry" | "retryForMs" | "signal"> = {},
): Promise<string> {
  const settings = {
    ...(storageConfig === undefined ? {} : { storageConfig }),
    ...(cacheBytes === undefined ? {} : { cacheBytes }),
    ...(maxBytes === undefined ? {} : { maxBytes }),
  };
  // Late: the HTTP client and the signer are a third of the program, and a server of local files needs neither.
  const { fetchModel } = await import("./storage/index.js");
  return fetchModel({ uri: modelUri, destination, cache, clock, random, log, env, ...settings, ...more });
}

const describeFailure = (error: unknown): string =>
  `${error instanceof ModelError ? error.reason : "Failed"}: ${messageOf(error)}`;

/** What Kubernetes shows as the container's termination message; outside of pods there is no such file. */
async function lastWords({ env, log }: Program, error: unknown): Promise<void> {
  const file = env["ARGOSY_TERMINATION_LOG"] ?? "/dev/termination-log";
  try {
    await writeFile(file, describeFailure(error).slice(0, 4000), {
      flag: env["ARGOSY_TERMINATION_LOG"] === undefined ? "r+" : "w",
    });
  } catch (reason) {
    log.debug("no termination message", { err: reason });
  }
}
