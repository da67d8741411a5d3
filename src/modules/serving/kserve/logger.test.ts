import { expect, test } from "vitest";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import type { InferenceService } from "./inference-service-kind.js";
import { readLogger } from "./logger.js";
import { buildComponentPods, type PodInput } from "./pods.js";

const SERVICE = {
  metadata: { name: "iris", namespace: "models", annotations: { team: "blue", other: "x" } },
} as unknown as InferenceService;

const read = (logger: JsonObject, spec: JsonObject = {}) => readLogger(SERVICE, "predictor", { ...spec, logger });

/** The pods of a predictor with a logger. */
function podOf(image: string, logger: JsonObject, more: Partial<PodInput> = {}) {
  const settings = read(logger)?.settings ?? {};
  const built = buildComponentPods({
    component: "predictor",
    spec: { containers: [{ name: "kserve-container", image, args: ["--model-dir", "/m"] }], logger },
    runtime: undefined,
    values: { name: "iris", namespace: "models", labels: {}, annotations: {} },
    labels: {},
    access: { cacheHostPath: undefined, credentials: {} },
    log: { settings, ...more.log },
    ...(more.spec === undefined ? {} : { spec: more.spec }),
  });
  const { spec } = built.template as unknown as { spec: { containers: Made[]; volumes?: unknown } };
  const [main = NONE, forwarder = NONE] = spec.containers;
  return { ...built, ...spec, main, forwarder };
}

interface Made {
  readonly name: string;
  readonly args: string[];
  readonly env?: unknown;
  readonly volumeMounts?: unknown;
  readonly readinessProbe?: { readonly tcpSocket?: { readonly port: number } };
}

const NONE: Made = { name: "", args: [] };

const settingsIn = (args: readonly string[]) =>
  JSON.parse((args.find((arg) => arg.startsWith("--log-payloads=")) ?? "").slice("--log-payloads=".length));

test("the built-in server logs by itself; its settings are those of the logger", () => {
  const logger = {
    url: "http://dumper.models/",
    mode: "request",
    metadataHeaders: ["X-Who"],
    metadataAnnotations: ["team"],
  };
  const { main, containers, port } = podOf("argosy.dev/model-server", logger);

  expect([containers.length, port]).toEqual([1, 8080]);
  expect(settingsIn(main.args)).toMatchObject({
    ...{ urls: ["http://dumper.models/"], mode: "request", headers: ["X-Who"], annotations: { team: "blue" } },
    ...{ service: "iris", namespace: "models", component: "predictor", source: "iris-predictor", endpoint: "default" },
  });
});

test("a server of somebody else has a forwarder before it, to which its Service leads; its own probes stay with it", () => {
  const { main, forwarder, port } = podOf("somebody/server", { url: "http://x/?a=$(HOME)" });

  expect(port).toBe(9081);
  expect(main.readinessProbe?.tcpSocket?.port).toBe(8080);
  expect(forwarder.name).toBe("payload-logger");
  expect(forwarder.args.slice(0, 3)).toEqual(["--forward-to", "$(ARGOSY_MODEL_SERVER_HOST):8080", "--http=9081"]);
  expect(forwarder.args.at(-1)).toContain("$$(HOME)");
});

test("files: format, path, batches, marshaller; keys of stores by file or by variables of their own", () => {
  const logger: JsonObject = {
    ...{ url: "s3://logs/here", batchSize: 5, batchInterval: "1m30s", marshallerUrl: "http://m/marshal" },
    storage: { path: "daily", parameters: { format: "csv" } },
  };
  expect(read(logger)).toMatchObject({
    settings: {
      ...{ path: "daily", format: "csv", batchSize: 5, batchIntervalMs: 90_000 },
      marshallerUrl: "http://m/marshal",
    },
    ignored: [],
  });
  const none = { variables: [], settings: {} };
  const byFile = podOf("argosy.dev/model-server", logger, {
    log: { settings: read(logger)?.settings ?? {}, credentials: { ...none, file: { secret: "config", key: "minio" } } },
  });
  const byVariables = podOf("somebody/server", logger, {
    log: {
      settings: read(logger)?.settings ?? {},
      credentials: {
        variables: [{ name: "AWS_SECRET_ACCESS_KEY", secret: "keys", key: "k" }],
        settings: { AWS_ENDPOINT_URL: "http://minio" },
      },
    },
  });

  expect(settingsIn(byFile.main.args).s3cfg).toBe("/var/run/argosy/payload-log/minio");
  expect(byFile.main.volumeMounts).toEqual([
    { name: "payload-log-store", mountPath: "/var/run/argosy/payload-log", readOnly: true },
  ]);
  expect(byFile.volumes).toEqual([{ name: "payload-log-store", secret: { secretName: "config", defaultMode: 0o444 } }]);
  expect(byVariables.forwarder.env).toEqual(
    expect.arrayContaining([
      { name: "PAYLOAD_LOG_AWS_SECRET_ACCESS_KEY", valueFrom: { secretKeyRef: { name: "keys", key: "k" } } },
      { name: "PAYLOAD_LOG_AWS_ENDPOINT_URL", value: "http://minio" },
    ]),
  );
});

test.each<[JsonObject, readonly string[]]>([
  [{}, ["logger (it names no url"]],
  [{ url: "gs://b" }, ["logger.url gs:// (there are http, https, s3 and file"]],
  [{ url: "http://x", batchSize: 4, storage: { key: "k" } }, ["logger.storage (", "logger.batchSize ("]],
  [{ url: "http://x", batchSize: 1 }, []],
  [{ url: "s3://b", storage: { parameters: { format: "parquet" } } }, ["logger.storage.parameters.format parquet"]],
  [{ url: "s3://b", batchInterval: "soon" }, ["logger.batchInterval"]],
  [{ storage: { parameters: { bucket: "b" } } }, []],
])("what of %j has no effect is told", (logger, words) => {
  const ignored = read(logger)?.ignored ?? [];
  expect(ignored).toHaveLength(words.length);
  for (const [index, each] of words.entries()) expect(ignored[index]).toContain(each);
});

test("a batcher's three fields become arguments of the built-in server; the shorter timeout holds", () => {
  const containers = [{ name: "kserve-container", image: "argosy.dev/model-server", args: ["--model-dir", "/m"] }];
  const spec = { containers, timeout: 60, batcher: { maxBatchSize: 16, maxLatency: 250, timeout: 20 } };
  const { main } = podOf("", { url: "http://x" }, { spec });

  expect(main.args).toEqual(
    expect.arrayContaining(["--max-batch-rows=16", "--max-batch-delay-ms=250", "--request-timeout-ms=20000"]),
  );
});
