/** The arguments of the model server's program. */
import { resolve } from "node:path";

import { InputError } from "../../kernel/errors/index.js";
import { readCollector, readFlags, readWhole } from "../../kernel/program/index.js";
import type { EngineLimits } from "./engines/limits.js";

/** Usage text of the program. */
export const MODEL_SERVER_USAGE = `model-server: answers V1, V2 (REST and gRPC), generate, OpenAI and CloudEvents requests with models

  --repository DIR        serve a repository: <model>/[config.json], <model>/<version>/model.onnx
  --model-name NAME       serve one model, from --model-dir or --model-uri
  --model-dir DIR         folder with model.onnx, or with numbered versions; with --model-uri the model is fetched into it, once
  --model-uri URI         s3://, gs://, https://, hf://, oci://, webhdfs://, models:/NAME@ALIAS, file:///folder
  --storage-config FILE   s3cmd configuration, or an entry of KServe's storage-config, with the store's address and keys;
                          default: the variables of the store's own tools (AWS_…, GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN, …)
  --cache DIR             where downloads are kept, for all servers of this machine; default a folder under the system's temporary one
  --cache-bytes N         what it may hold, default 10737418240; what was used longest ago goes
  --model-config FILE     beside the repository, the models that KServe's models.json lists; followed while the server runs
  --store-config SCHEME=FILE  --storage-config for one kind of store, s3=…; may be given several times
  --http PORT             default 8080; 0 takes any free port
  --host ADDR             default 127.0.0.1; 0.0.0.0 inside pods
  --grpc PORT             a second port, for clients that expect gRPC on one of its own; both speak all protocols
  --grpc-reflection       let gRPC clients ask what services there are
  --max-concurrent N      most inferences handed to models at once, default 0: no limit
  --max-queued N          most that wait for one of those places, default 1024; beyond it 503
  --request-timeout-ms N  for requests that say nothing of their time, default 0: as long as it takes
  --otlp-endpoint URL     collector for traces (OTLP over HTTP); default OTEL_EXPORTER_OTLP_ENDPOINT with /v1/traces, or none
  --log-payloads JSON     copies of requests and answers go to {"urls": […]} as CloudEvents or files; docs/model-server.md has all members
  --forward-to HOST:PORT  serve nothing: pass connections on to that server, and log the requests in them with --log-payloads
  --metrics PORT          where a forwarder tells its counters
  --max-batch-rows N      most rows in one run of the model, default 64, or 512 while they take less than a millisecond; 1 switches sharing off
  --max-batch-delay-ms N  how long a request waits for others to share a run, default 0: only while the model is busy
  --max-body-bytes N      default 67108864
  --threads N             threads of one run, default 1
  --memory-budget-bytes N memory for all models; those not used for longest leave, and come back when asked for; default 70 % of what there is
  --model-memory-bytes N  memory of a model's own process, default 2 GiB
  --run-timeout-ms N      a run that takes longer is ended and the model's worker restarted, default 30000
  --load-timeout-ms N     default 120000
  --allow-code yes|no|elsewhere  whether models may be code (model.js, model.py), default yes; elsewhere: not in this process, which holds the
                          keys of stores: a model of --model-uri that is code is ModelIsCode
  --allow-pickles yes|no|anywhere  whether pickles and joblib files are opened, in a process with namespaces of its own; anywhere: also where the machine gives none; default no
  --python PROGRAM        Python for such models, default python3
  --on-failure serve|exit when the one model cannot be loaded: go on answering 503 with the cause (default), or exit 1
  --fetch-to DIR          only download --model-uri into DIR, then exit
  --max-bytes N           the most that --model-uri may have; more is QuotaExceeded
  --clear DIR             only remove DIR with what is in it, then exit

A failure is also written to the file named by ARGOSY_TERMINATION_LOG (default /dev/termination-log).
`;

/** What the arguments say. */
export interface Arguments {
  readonly repository: string | undefined;
  readonly modelName: string | undefined;
  readonly modelDir: string | undefined;
  readonly modelUri: string | undefined;
  readonly storageConfig: string | undefined;
  readonly fetchTo: string | undefined;
  readonly modelConfig: string | undefined;
  /** By scheme. */
  readonly storeConfigs: Readonly<Record<string, string>>;
  readonly cache: string;
  readonly cacheBytes: number | undefined;
  readonly maxBytes: number | undefined;
  readonly clear: string | undefined;
  readonly port: number;
  readonly host: string;
  readonly grpcPort: number | undefined;
  readonly grpcReflection: boolean;
  readonly otlpEndpoint: string | undefined;
  /** As JSON. */
  readonly payloads: string | undefined;
  readonly forwardTo: { readonly host: string; readonly port: number } | undefined;
  readonly metricsPort: number | undefined;
  readonly maxConcurrent: number | undefined;
  readonly maxQueued: number | undefined;
  readonly requestTimeoutMs: number | undefined;
  readonly maxBatchRows: number | undefined;
  readonly maxBatchDelayMs: number | undefined;
  readonly maxBodyBytes: number | undefined;
  readonly threads: number | undefined;
  readonly limits: Partial<EngineLimits>;
  /** A model that is code is told apart from what may not run at all. */
  readonly codeElsewhere: boolean;
  readonly memoryBudgetBytes: number | undefined;
  readonly exitOnFailure: boolean;
}

/** What surrounds the arguments. */
interface Given {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

const OPTIONS = {
  repository: { type: "string" },
  "model-name": { type: "string" },
  "model-dir": { type: "string" },
  "model-uri": { type: "string" },
  "storage-config": { type: "string" },
  cache: { type: "string" },
  "cache-bytes": { type: "string" },
  "max-bytes": { type: "string" },
  clear: { type: "string" },
  http: { type: "string" },
  host: { type: "string" },
  grpc: { type: "string" },
  "grpc-reflection": { type: "boolean" },
  "otlp-endpoint": { type: "string" },
  "log-payloads": { type: "string" },
  "forward-to": { type: "string" },
  metrics: { type: "string" },
  "max-concurrent": { type: "string" },
  "max-queued": { type: "string" },
  "request-timeout-ms": { type: "string" },
  "max-batch-rows": { type: "string" },
  "max-batch-delay-ms": { type: "string" },
  "max-body-bytes": { type: "string" },
  threads: { type: "string" },
  "memory-budget-bytes": { type: "string" },
  "model-memory-bytes": { type: "string" },
  "run-timeout-ms": { type: "string" },
  "load-timeout-ms": { type: "string" },
  "allow-code": { type: "string" },
  "allow-pickles": { type: "string" },
  python: { type: "string" },
  "on-failure": { type: "string" },
  "fetch-to": { type: "string" },
  "model-config": { type: "string" },
  "store-config": { type: "string", multiple: true },
  help: { type: "boolean" },
} as const;

/** Reads them. Throws `InputError` that names the flag. */
export function parseArguments({ args, env }: Given): Arguments | "help" {
  const values = readFlags(args, OPTIONS);
  if (values.help === true) return "help";
  const onFailure = values["on-failure"] ?? env["ARGOSY_MODEL_SERVER_ON_FAILURE"] ?? "serve";
  if (onFailure !== "serve" && onFailure !== "exit") {
    throw new InputError(`--on-failure is "${onFailure}"; expected serve or exit`);
  }
  const single = values["model-uri"] ?? values["model-dir"];
  const sources = [values.repository, single, values["forward-to"], values.clear];
  if (sources.filter((value) => value !== undefined).length !== 1) {
    throw new InputError(
      "give exactly one of --repository, --model-dir, --model-uri, --forward-to and --clear; --help lists what there is",
    );
  }
  if (values["forward-to"] !== undefined && values["log-payloads"] === undefined) {
    throw new InputError("--forward-to needs --log-payloads");
  }
  if (values["fetch-to"] !== undefined && (values["model-uri"] === undefined || values["model-dir"] !== undefined)) {
    throw new InputError("--fetch-to needs --model-uri, and no --model-dir");
  }
  if (values["model-config"] !== undefined && values.repository === undefined) {
    throw new InputError("--model-config needs --repository, a folder in which models are laid out");
  }
  return {
    repository: absolute(values.repository),
    modelName: values["model-name"],
    modelDir: absolute(values["model-dir"]),
    modelUri: values["model-uri"],
    storageConfig: values["storage-config"],
    fetchTo: values["fetch-to"],
    modelConfig: values["model-config"],
    storeConfigs: readStoreConfigs(values["store-config"] ?? []),
    cache: resolve(values.cache ?? env["ARGOSY_MODEL_CACHE"] ?? `${env["TMPDIR"] ?? "/tmp"}/argosy-models`),
    maxBytes: readWhole("max-bytes", values["max-bytes"], [0, 2 ** 53 - 1]),
    clear: values.clear,
    cacheBytes: readWhole("cache-bytes", values["cache-bytes"], [0, 2 ** 53 - 1]),
    port: readWhole("http", values.http, [0, 65_535]) ?? 8080,
    host: values.host ?? env["ARGOSY_MODEL_SERVER_HOST"] ?? "127.0.0.1",
    grpcPort: readWhole("grpc", values.grpc, [0, 65_535]),
    grpcReflection: values["grpc-reflection"] === true,
    otlpEndpoint: readCollector(values["otlp-endpoint"], env),
    payloads: values["log-payloads"],
    forwardTo: readUpstream(values["forward-to"]),
    metricsPort: readWhole("metrics", values.metrics, [0, 65_535]),
    maxConcurrent: readWhole("max-concurrent", values["max-concurrent"], [0, 1_000_000]),
    maxQueued: readWhole("max-queued", values["max-queued"], [0, 1_000_000]),
    requestTimeoutMs: readWhole("request-timeout-ms", values["request-timeout-ms"], [0, 86_400_000]),
    maxBatchRows: readWhole("max-batch-rows", values["max-batch-rows"], [1, 65_536]),
    maxBatchDelayMs: readWhole("max-batch-delay-ms", values["max-batch-delay-ms"], [0, 86_400_000]),
    maxBodyBytes: readWhole("max-body-bytes", values["max-body-bytes"], [1024, 2 ** 31]),
    threads: readWhole("threads", values.threads, [1, 256]),
    exitOnFailure: onFailure === "exit",
    limits: readLimits(values, env),
    codeElsewhere: readCode(values, env) === "elsewhere",
    memoryBudgetBytes: readWhole("memory-budget-bytes", values["memory-budget-bytes"], [2 ** 20, 2 ** 50]),
  };
}

/** Models' processes run in other folders than this one. */
const absolute = (folder: string | undefined): string | undefined =>
  folder === undefined ? undefined : resolve(folder);

function readStoreConfigs(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((text) => {
      const match = /^([A-Za-z][A-Za-z0-9+.-]*)=(.+)$/.exec(text);
      if (match === null)
        throw new InputError(`--store-config is "${text}"; expected SCHEME=FILE, as in s3=/etc/s3cfg`);
      return [match[1] ?? "", match[2] ?? ""];
    }),
  );
}

type Flags = ReturnType<typeof readFlags<typeof OPTIONS>>;

function readLimits(values: Flags, env: Given["env"]): Partial<EngineLimits> {
  const memoryBytes = readWhole("model-memory-bytes", values["model-memory-bytes"], [2 ** 24, 2 ** 50]);
  const runTimeoutMs = readWhole("run-timeout-ms", values["run-timeout-ms"], [1, 86_400_000]);
  const loadTimeoutMs = readWhole("load-timeout-ms", values["load-timeout-ms"], [1, 86_400_000]);
  const allowCode = readCode(values, env);
  const allowPickles = readPickles(values["allow-pickles"] ?? env["ARGOSY_MODEL_ALLOW_PICKLES"]);
  const python = values.python ?? env["ARGOSY_MODEL_PYTHON"];
  return {
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
    ...(runTimeoutMs === undefined ? {} : { runTimeoutMs }),
    ...(loadTimeoutMs === undefined ? {} : { loadTimeoutMs }),
    ...(allowCode === undefined ? {} : { allowCode: allowCode === "yes" }),
    ...(allowPickles === undefined ? {} : { allowPickles }),
    ...(python === undefined ? {} : { python }),
  };
}

function readPickles(value: string | undefined): EngineLimits["allowPickles"] | undefined {
  if (value === undefined || value === "no" || value === "yes" || value === "anywhere") return value;
  throw new InputError(`--allow-pickles is "${value}"; expected no, yes or anywhere`);
}

function readCode(values: Flags, env: Given["env"]): "yes" | "no" | "elsewhere" | undefined {
  const value = values["allow-code"] ?? env["ARGOSY_MODEL_ALLOW_CODE"];
  if (value === undefined || value === "yes" || value === "no" || value === "elsewhere") return value;
  throw new InputError(`--allow-code is "${value}"; expected yes, no or elsewhere`);
}

function readUpstream(value: string | undefined): Arguments["forwardTo"] {
  if (value === undefined) return undefined;
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value);
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65_535)
    throw new InputError(`--forward-to is "${value}"; expected HOST:PORT`);
  return { host: match[1] ?? match[2] ?? "", port };
}
