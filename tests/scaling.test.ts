import { createServer, request } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DeploymentKind, type Pod } from "../src/kernel/kinds/index.js";
import { toJsonObject } from "../src/kernel/schema/index.js";
import { type KnativeService, KnativeServiceKind } from "../src/modules/serving/knative/kinds.js";
import { temporaryFolder } from "../src/testing/folder.js";
import type { TestCluster } from "../src/testing/index.js";
import { type MemberStage, startMemberStage } from "./support/member-stage.js";
import { eventually } from "./support/polling.js";

const namespace = "models";
const apply = { namespace, fieldManager: "test", force: true };
const directory = temporaryFolder("scaling");
let stage: MemberStage;
let cluster: TestCluster;
let port = 0;

/** A pod is an HTTP server that says its Revision. */
async function startPod(pod: Pod, podIP: string, stopped: Promise<void>): Promise<void> {
  const revision = pod.metadata.labels?.["serving.knative.dev/revision"] ?? "";
  const server = createServer((_request, response) => {
    setTimeout(() => response.end(revision), 20);
  });
  await new Promise<void>((resolve) => server.listen(18_080, podIP, () => resolve()));
  void stopped.then(() => {
    server.closeAllConnections();
    server.close();
  });
}

beforeAll(async () => {
  stage = await startMemberStage({ directory, namespace, network: "127.88", startPod, isGatewayFast: true });
  ({ cluster, port } = stage);
});
afterAll(() => stage?.close());

/** One request to an address, by the body of its answer. */
function ask(name: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = request({ port, host: "127.0.0.1", headers: { host: stage.host(name) }, agent: false }, (response) => {
      let text = "";
      response.on("data", (piece: Buffer) => {
        text += piece.toString();
      });
      response.on("end", () => resolve(response.statusCode === 200 ? text : `${response.statusCode}: ${text}`));
    });
    call.on("error", reject);
    call.end();
  });
}

const replicasOf = async (revision: string): Promise<number> => {
  const found = await cluster.client.resource(DeploymentKind).find(`${revision}-deployment`, { namespace });
  return found?.spec.replicas ?? -1;
};

const service = (more: { traffic?: object[]; env?: string } = {}) => ({
  metadata: { name: "hello" },
  spec: {
    template: {
      metadata: {
        annotations: {
          "autoscaling.knative.dev/window": "6s",
          "autoscaling.knative.dev/target": "3",
          "autoscaling.knative.dev/target-utilization-percentage": "100",
        },
      },
      spec: {
        containers: [
          {
            image: "i",
            ports: [{ containerPort: 18_080 }],
            ...(more.env === undefined ? {} : { env: [{ name: "V", value: more.env }] }),
          },
        ],
      },
    },
    ...(more.traffic === undefined ? {} : { traffic: more.traffic.map((target) => toJsonObject(target)) }),
  },
});

async function ready(observed: number): Promise<KnativeService> {
  return eventually("the service is ready", async () => {
    const found = await cluster.client.resource(KnativeServiceKind).find("hello", { namespace });
    const condition = found?.status?.conditions?.find(({ type }) => type === "Ready");
    return found?.metadata.generation === observed &&
      condition?.status === "True" &&
      condition.observedGeneration === observed
      ? found
      : undefined;
  });
}

test("a service answers, goes to zero when it is quiet, wakes by a request, grows under load and shrinks again", async () => {
  const services = cluster.client.resource(KnativeServiceKind);
  await services.apply(service(), apply);
  const made = await ready(1);
  expect(made.status).toMatchObject({
    url: `http://${stage.host("hello")}:${port}`,
    latestReadyRevisionName: "hello-00001",
    traffic: [{ latestRevision: true, percent: 100, revisionName: "hello-00001" }],
  });
  expect(await ask("hello")).toBe("hello-00001");

  await eventually("it is at zero", async () => (await replicasOf("hello-00001")) === 0 || undefined);
  expect((await ready(1)).status?.latestReadyRevisionName).toBe("hello-00001");
  // Ten at once that meet nothing: all of them wait for the first pod.
  const woken = await Promise.all(Array.from({ length: 10 }, () => ask("hello")));
  expect(woken).toEqual(Array(10).fill("hello-00001"));

  let isLoaded = true;
  const failures: string[] = [];
  const load = Promise.all(
    Array.from({ length: 12 }, async () => {
      while (isLoaded) {
        const answer = await ask("hello");
        if (answer !== "hello-00001") failures.push(answer);
      }
    }),
  );
  const most = await eventually("it has grown", async () => {
    const replicas = await replicasOf("hello-00001");
    return replicas >= 3 ? replicas : undefined;
  });
  isLoaded = false;
  await load;
  expect(failures).toEqual([]);
  await eventually("it has shrunk", async () => (await replicasOf("hello-00001")) < most || undefined);

  const decisions = await stage.ledger.query({ kind: "Deployment", name: "hello-00001-deployment", limit: 500 });
  const outcomes = decisions.map(({ outcome }) => outcome).join("\n");
  // By which window it grew, and whether it panicked, depends on how fast this machine is; kpa.test.ts has both on its own clock.
  expect(outcomes).toMatch(/scaled from \d+ to [3-9]: the stable window: .* → \d+; the panic window: .* → \d+/);
  expect(outcomes).toMatch(/scaled from 1 to 0: .*inactive for \d+ s → 0/);
  expect(outcomes).toMatch(
    /zero to first answer in \d+ ms: queue \d+, schedule \d+, fetch \d+, load \d+, first answer \d+ ms/,
  );
});

test("two Revisions share an address 90 to 10, a tag has its own, and what cannot be is refused with reasons", async () => {
  const services = cluster.client.resource(KnativeServiceKind);
  const shares = [
    { revisionName: "hello-00001", percent: 90 },
    { latestRevision: true, percent: 10, tag: "next" },
  ];
  await services.apply(service({ env: "2", traffic: shares }), apply);
  const split = await ready(2);
  expect(split.status?.traffic).toMatchObject([
    { revisionName: "hello-00001", percent: 90 },
    { revisionName: "hello-00002", percent: 10, tag: "next", url: `http://${stage.host("next-hello")}:${port}` },
  ]);
  const answers: string[] = [];
  for (let round = 0; round < 10; round++)
    answers.push(...(await Promise.all(Array.from({ length: 10 }, () => ask("hello")))));
  const next = answers.filter((answer) => answer === "hello-00002").length;
  // Exactly ten, but for requests that met a pod on its way out and were sent again.
  expect(Math.abs(next - 10)).toBeLessThanOrEqual(3);
  expect(answers.filter((answer) => answer === "hello-00001")).toHaveLength(100 - next);
  expect(await ask("next-hello")).toBe("hello-00002");

  const refused = services.apply(service({ traffic: [{ latestRevision: true, percent: 90 }] }), apply);
  await expect(refused).rejects.toThrow(/spec.traffic: .*the percents add up to 90; they must add up to 100/);
});
