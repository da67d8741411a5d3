/** The router as a program: its arguments and signals. */
import { readFile } from "node:fs/promises";
import { InputError, messageOf } from "../../kernel/errors/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { type Program, readCollector, readFlags, readWhole, runProgram } from "../../kernel/program/index.js";
import { isObject, toJsonObject } from "../../kernel/schema/index.js";
import { readGraph } from "./read.js";
import { runRouter } from "./router.js";
import { trustWith } from "./trust.js";

/** Usage text of the program. */
export const INFERENCE_ROUTER_USAGE = `inference-router: takes requests through a graph of models (the spec of an InferenceGraph, each service by its address)

  --graph FILE            the spec as JSON, or a whole InferenceGraph
  --graph-json JSON       the same as text
  --name NAME             in logs and traces, default graph
  --http PORT             default 8080; 0 takes any free port
  --host ADDR             default 127.0.0.1; 0.0.0.0 inside pods
  --propagate-headers P,… patterns of header names that go on to every step; default PROPAGATE_HEADERS, or none
  --ca-bundle FILE        authorities (PEM) to trust beside the public ones, of services that are asked over https
  --max-body-bytes N      largest request, and answer of a step that is not the last, default 67108864
  --max-concurrent N      most requests under way, default 1024; beyond it 503
  --max-steps N           most steps asked at once, of all requests; others wait; default 2048
  --otlp-endpoint URL     collector for traces (OTLP over HTTP); default OTEL_EXPORTER_OTLP_ENDPOINT with /v1/traces, or none

POST to any path enters the graph; GET /readyz, /livez and /metrics tell about the router.
`;

const OPTIONS = {
  graph: { type: "string" },
  "graph-json": { type: "string" },
  name: { type: "string" },
  http: { type: "string" },
  host: { type: "string" },
  "propagate-headers": { type: "string" },
  "ca-bundle": { type: "string" },
  "max-body-bytes": { type: "string" },
  "max-concurrent": { type: "string" },
  "max-steps": { type: "string" },
  "otlp-endpoint": { type: "string" },
  help: { type: "boolean" },
} as const;

/** Runs until stopped; returns the exit code: 0, or 2 for bad arguments or a bad graph. */
export const runInferenceRouterProgram = (program: Program): Promise<number> =>
  runProgram("inference-router", () => serve(program));

async function serve({ args, clock, random, log, env, stopped }: Program): Promise<number> {
  const values = readFlags(args, OPTIONS);
  if (values.help === true) {
    process.stdout.write(INFERENCE_ROUTER_USAGE);
    return 0;
  }
  const host = values.host ?? env["ARGOSY_ROUTER_HOST"] ?? "127.0.0.1";
  const maxBodyBytes = readWhole("max-body-bytes", values["max-body-bytes"], [1024, 2 ** 31]);
  const maxConcurrent = readWhole("max-concurrent", values["max-concurrent"], [1, 1_000_000]);
  const maxSteps = readWhole("max-steps", values["max-steps"], [1, 1_000_000]);
  const otlpEndpoint = readCollector(values["otlp-endpoint"], env);
  const bundle = values["ca-bundle"];
  const router = await runRouter({
    graph: readGraph(await readSpec(values)),
    name: values.name ?? "graph",
    port: readWhole("http", values.http, [0, 65_535]) ?? 8080,
    ...{ host, clock, random, log },
    propagate: patternsOf(values["propagate-headers"] ?? env["PROPAGATE_HEADERS"] ?? ""),
    ...(maxBodyBytes === undefined ? {} : { maxBodyBytes }),
    ...(maxConcurrent === undefined ? {} : { maxConcurrent }),
    ...(maxSteps === undefined ? {} : { maxSteps }),
    ...(otlpEndpoint === undefined ? {} : { otlpEndpoint }),
    ...(bundle === undefined ? {} : { trust: trustWith(await readText(bundle, "--ca-bundle"), bundle) }),
  });
  process.stdout.write(`listening on http://${host}:${router.port}\n`);
  await stopped;
  await router.close();
  return 0;
}

/** Patterns, one after a comma. */
export const patternsOf = (text: string): string[] =>
  text
    .split(",")
    .map((each) => each.trim())
    .filter((each) => each !== "");

async function readText(file: string, flag: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new InputError(`${flag}: ${messageOf(error)}`, { cause: error });
  }
}

async function readSpec(values: { readonly graph?: string; readonly "graph-json"?: string }): Promise<JsonObject> {
  const { graph: file, "graph-json": given } = values;
  if ((file === undefined) === (given === undefined))
    throw new InputError("give exactly one of --graph and --graph-json; --help lists what there is");
  const what = file === undefined ? "--graph-json" : file;
  try {
    const value: unknown = JSON.parse(file === undefined ? (given ?? "") : await readFile(file, "utf8"));
    if (!isObject(value)) throw new InputError(`${what} is no JSON object`);
    return toJsonObject(isObject(value["spec"]) ? value["spec"] : value);
  } catch (error) {
    throw error instanceof InputError ? error : new InputError(`${what}: ${messageOf(error)}`, { cause: error });
  }
}
