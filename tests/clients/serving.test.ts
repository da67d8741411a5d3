import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect } from "vitest";
import { runModelServer } from "../../src/dataplane/modelserver/index.js";
import { protocolModels } from "../../src/dataplane/modelserver/text/letters.fixture.js";
import { systemClock } from "../../src/kernel/clock/index.js";
import { silentLogger } from "../../src/kernel/log/index.js";
import { allOk, clientsFolder, pythonTool, runChecks, testWith } from "./support.js";

/** Packages in a folder of their own, as they do not agree on versions of what they share. */
const tool = (name: string) => pythonTool(`serving-${name}`, `serving/requirements-${name}.txt`);

let running: Promise<{ port: number; grpcPort: number; close(): Promise<void> }> | undefined;

/** A server with models of every datatype and of text. */
function server() {
  running ??= start();
  return running;
}

async function start() {
  const repository = mkdtempSync(join(tmpdir(), "argosy-protocols-"));
  for (const [name, content] of Object.entries(protocolModels())) {
    mkdirSync(dirname(join(repository, name)), { recursive: true });
    writeFileSync(join(repository, name), content);
  }
  const options = { port: 0, grpcPort: 0, grpcReflection: true, drainDelayMs: 0, drainTimeoutMs: 2000 };
  const started = await runModelServer({
    ...options,
    source: { repository },
    clock: systemClock,
    log: silentLogger,
  });
  await started.loaded;
  return {
    port: started.port,
    grpcPort: started.grpcPort ?? 0,
    close: async () => {
      await started.close();
      rmSync(repository, { recursive: true, force: true });
    },
  };
}

afterAll(async () => (await running)?.close());

async function run(group: string, folder: string): Promise<Record<string, string>> {
  const { port, grpcPort } = await server();
  const program = join(clientsFolder, "serving", "program.py");
  return runChecks("python3", [program, group, String(port), String(grpcPort)], {
    env: { PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: "1" },
  });
}

testWith(tool("triton"), "tritonclient, HTTP and gRPC", async (folder) => {
  const http = ["health_and_metadata", "every_datatype", "bf16", "compression", "classification", "asynchronous"];
  const more = ["repository", "statistics_and_settings", "shared_memory", "errors", "aio"];
  const grpc = ["health_and_metadata", "every_datatype", "compression", "asynchronous", "streaming"];
  const names = [
    ...[...http, ...more].map((name) => `http_${name}`),
    ...[...grpc, "repository_and_statistics", "errors", "aio"].map((name) => `grpc_${name}`),
  ];

  expect(await run("triton", folder)).toEqual(allOk(...names));
});

testWith(tool("triton"), "grpcio: health, reflection, statuses", async (folder) => {
  expect(await run("grpc", folder)).toEqual(allOk("health", "reflection", "model_repository_package", "statuses"));
});

testWith(tool("openai"), "the openai package", async (folder) => {
  const names = ["models", "completions", "completion_options", "completion_ends", "sampling_is_seeded", "streaming"];
  const more = ["scoring", "tool_messages", "chat", "chat_streaming", "embeddings", "errors", "asynchronous"];

  expect(await run("openai", folder)).toEqual(allOk(...names, ...more));
});

testWith(tool("kserve"), "KServe's SDK", async (folder) => {
  const names = ["rest_health", "rest_v1", "rest_v2", "rest_64_bit", "grpc_calls"];

  expect(await run("kserve", folder)).toEqual(allOk(...names));
});

testWith(tool("mlserver"), "MLServer's command line", async (folder) => {
  const names = ["batch_inference", "batch_inference_in_micro_batches", "batch_inference_binary"];

  expect(await run("mlserver", folder)).toEqual(allOk(...names));
});
