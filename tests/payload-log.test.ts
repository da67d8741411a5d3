import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, request, type Server } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runModelServerProgram } from "../src/dataplane/modelserver/index.js";
import { systemClock, systemRandom } from "../src/kernel/clock/index.js";
import { EndpointSliceKind, type Pod } from "../src/kernel/kinds/index.js";
import { silentLogger } from "../src/kernel/log/index.js";
import { asObject, asObjects, asString } from "../src/kernel/schema/index.js";
import { MLServiceKind, MLServiceRuntimeKind } from "../src/modules/serving/index.js";
import { InferenceServiceKind } from "../src/modules/serving/kserve/inference-service-kind.js";
import { temporaryFolder } from "../src/testing/folder.js";
import type { TestCluster } from "../src/testing/index.js";
import { blankManifests, blankRequest } from "./support/blank-model.js";
import { type MemberStage, startMemberStage } from "./support/member-stage.js";
import { eventually } from "./support/polling.js";

// Pods run the model server's own program for its image, with the arguments and variables of the pod, and a transformer of somebody else for any
// other; a sink of CloudEvents.
const namespace = "models";
const apply = { namespace, fieldManager: "test", force: true };
const directory = temporaryFolder("payload-log");

interface Received {
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

const received: Received[] = [];
let stage: MemberStage;
let cluster: TestCluster;
let sink: Server;
let sinkUrl = "";
let models = "";

const bodyOf = async (message: IncomingMessage): Promise<string> => {
  const pieces: Buffer[] = [];
  for await (const piece of message) pieces.push(piece as Buffer);
  return Buffer.concat(pieces).toString();
};

/** Posts and gives status and body. */
function post(host: string, at: number, body: string, headers: Record<string, string>): Promise<[number, string]> {
  return new Promise((resolve, reject) => {
    const call = request({ host, port: at, path: "/v2/models/blank/infer", method: "POST", headers, agent: false });
    call.on("response", (answer) => {
      bodyOf(answer).then((text) => resolve([answer.statusCode ?? 0, text]), reject);
    });
    call.on("error", reject);
    call.end(body);
  });
}

/** A Service, as a pod reaches it. */
function addressOf(host: string): { host: string; port: number } {
  const [name] = host.split(".");
  const slice = cluster.informers
    .informer(EndpointSliceKind)
    .list(namespace)
    .find(({ metadata }) => metadata.labels?.["kubernetes.io/service-name"] === name);
  return { host: slice?.endpoints[0]?.addresses[0] ?? "", port: slice?.ports?.[0]?.port ?? 0 };
}

/** The pod's containers: each what it says it is. */
async function startPod(pod: Pod, podIP: string, stopped: Promise<void>): Promise<void> {
  for (const container of asObjects(pod.spec.containers)) {
    const env = Object.fromEntries(
      asObjects(container["env"]).map(({ name, value }) => [asString(name), typeof value === "string" ? value : podIP]),
    );
    const expand = (text: string): string =>
      text.replaceAll(/\$\(([A-Z_]+)\)/g, (all, name: string) => env[name] ?? all);
    const args = Array.isArray(container["args"]) ? container["args"].map((arg) => expand(asString(arg))) : [];
    if (container["image"] === "argosy.dev/model-server")
      void runModelServerProgram({
        ...{ args, env: { ...env, ARGOSY_TERMINATION_LOG: "/dev/null" }, stopped },
        ...{ clock: systemClock, random: systemRandom, log: silentLogger },
      });
    else {
      const predictor = asString(args[args.indexOf("--predictor_host") + 1]);
      const server = createServer((incoming, response) => {
        const { host, port: at } = addressOf(predictor);
        if (incoming.method !== "POST") response.end("alive");
        else
          void bodyOf(incoming)
            .then((body) => post(host, at, body, { "content-type": "application/json" }))
            .then(([status, text]) => response.writeHead(status, { "content-type": "application/json" }).end(text));
      });
      void stopped.then(() => server.close());
      await new Promise<void>((resolve) => server.listen(7000, podIP, () => resolve()));
    }
  }
}

beforeAll(async () => {
  models = join(directory, "models");
  mkdirSync(models);
  const content = asObject(blankManifests(namespace)[0]?.["binaryData"])["model.onnx"];
  writeFileSync(join(models, "model.onnx"), Buffer.from(asString(content), "base64"));
  sink = createServer((incoming, response) => {
    void bodyOf(incoming).then((body) => {
      received.push({ headers: incoming.headers, body });
      response.writeHead(202).end();
    });
  });
  await new Promise<void>((resolve) => sink.listen(0, "127.0.0.1", () => resolve()));
  const address = sink.address();
  sinkUrl = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}/`;
  stage = await startMemberStage({ directory, namespace, network: "127.91", startPod });
  ({ cluster } = stage);
});
afterAll(async () => {
  await stage?.close();
  sink?.close();
  sink?.closeAllConnections();
});

interface Conditioned {
  readonly status?:
    | {
        readonly conditions?:
          | readonly { readonly type: string; readonly status: string; readonly message?: string | undefined }[]
          | undefined;
      }
    | undefined;
}
const conditionOf = (seen: Conditioned | undefined, type: string) =>
  seen?.status?.conditions?.find((condition) => condition.type === type);

/** Asks through the gateway. */
const ask = (name: string, id: string): Promise<[number, string]> =>
  post("127.0.0.1", stage.port, blankRequest, {
    ...{ host: stage.host(name), "content-type": "application/json" },
    ...{ "ce-id": id, "x-who": "me", authorization: "Bearer hush" },
  });

const eventsOf = (id: string): Received[] => received.filter(({ headers }) => headers["ce-id"] === id);
const from = (events: readonly Received[], source: string, kind: string): Received | undefined =>
  events.find(({ headers }) => headers["ce-source"] === source && String(headers["ce-type"]).endsWith(`.${kind}`));

test("an InferenceService logs what its transformer and its predictor are asked", async () => {
  const services = cluster.client.resource(InferenceServiceKind);
  const logger = {
    url: sinkUrl,
    mode: "all",
    metadataHeaders: ["x-who", "authorization"],
    metadataAnnotations: ["team"],
  };
  await services.apply(
    {
      metadata: { name: "blank", annotations: { team: "blue" } },
      spec: {
        predictor: {
          logger: { url: sinkUrl },
          batcher: { maxBatchSize: 8, maxLatency: 5, timeout: 10 },
          containers: [
            {
              name: "kserve-container",
              image: "argosy.dev/model-server",
              args: ["--model-name=blank", `--model-dir=${models}`],
            },
          ],
        },
        transformer: {
          logger,
          containers: [{ name: "kserve-container", image: "somebody/transformer", ports: [{ containerPort: 7000 }] }],
        },
      },
    },
    apply,
  );
  const ready = await eventually("it is ready", async () => {
    const found = await services.find("blank", { namespace });
    return conditionOf(found, "Ready")?.status === "True" ? found : undefined;
  });
  const [status, answer] = await ask("blank", "one");
  // The transformer's own request has an id of its own.
  await eventually(
    "all four came",
    () => received.filter(({ headers }) => headers["ce-source"] !== undefined).length >= 4 || undefined,
  );

  expect(status).toBe(200);
  expect(conditionOf(ready, "AllFieldsHonored")?.status).toBe("True");
  const front = eventsOf("one");
  expect(from(front, "blank-transformer", "request")?.body).toBe(blankRequest);
  expect(from(front, "blank-transformer", "response")?.body).toBe(answer);
  const { headers } = from(front, "blank-transformer", "request") ?? { headers: {} };
  expect(headers).toMatchObject({
    ...{ "ce-inferenceservicename": "blank", "ce-namespace": namespace, "ce-component": "transformer" },
    "ce-annotations": "{%22team%22:%22blue%22}",
    "ce-metadata": "{%22x-who%22:[%22me%22],%22authorization%22:[%22[redacted]%22]}",
  });
  expect(from(received, "blank-predictor", "request")?.body).toBe(blankRequest);
  expect(from(received, "blank-predictor", "response")?.headers["ce-statuscode"]).toBe("200");
  expect(JSON.stringify(received)).not.toContain("hush");
});

test("an MLService logs its releases and its transformer, under names of its own; a sink that is gone is not in the way", async () => {
  const [, runtime] = blankManifests(namespace);
  const template = {
    spec: {
      containers: [
        {
          name: "user-container",
          image: "argosy.dev/model-server",
          args: ["--model-name=blank", `--model-dir=${models}`],
        },
      ],
    },
  };
  await cluster.client
    .resource(MLServiceRuntimeKind)
    .apply({ metadata: { name: "onnx" }, spec: { ...asObject(runtime?.["spec"]), template } }, apply);
  const services = cluster.client.resource(MLServiceKind);
  const logger = { urls: [sinkUrl] };
  const front = {
    name: "user-container",
    image: "somebody/transformer",
    ...{ args: ["--predictor_host", "$(PREDICTOR_HOST)"], ports: [{ containerPort: 7000 }] },
  };
  await services.apply(
    {
      metadata: { name: "digits" },
      spec: {
        ...{ default: "v1", transformer: { logger, template: { spec: { containers: [front] } } } },
        releases: [{ name: "v1", predictor: { logger, model: { runtime: "onnx" } } }],
      },
    },
    apply,
  );
  const ready = await eventually("it is ready", async () => {
    const found = await services.find("digits", { namespace });
    return conditionOf(found, "Ready")?.status === "True" ? found : undefined;
  });
  const [status, said] = await ask("digits", "two");
  await eventually(
    "all four came",
    () => received.filter(({ headers }) => headers["ce-mlservicename"] === "digits").length >= 4 || undefined,
  );

  expect([status, said]).toEqual([200, expect.stringContaining("blank")]);
  expect(ready.status?.transformer).toMatchObject({
    ready: true,
    url: `http://digits-transform.${namespace}.cloud.test:${stage.port}`,
  });
  expect(conditionOf(ready, "AllFieldsHonored")?.status).toBe("True");
  expect(from(eventsOf("two"), "digits-transformer", "request")?.headers["ce-type"]).toBe(
    "tensorstack.dev.mlservice.request",
  );
  expect(from(received, "digits-predictor-v1", "response")?.headers["ce-inferenceurl"]).toBe(
    `http://digits-predict-v1.${namespace}.cloud.test:${stage.port}`,
  );

  sink.closeAllConnections();
  sink.close();
  for (const id of ["three", "four"]) expect(await ask("digits", id)).toEqual([200, said]);
});
