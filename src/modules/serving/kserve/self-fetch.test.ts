import { expect, test } from "vitest";
import { type JsonObject, PodKind } from "../../../kernel/kinds/index.js";
import { addPod, applyService, conditionOf, deploymentOf, namespace, startServing, until } from "./fixture.js";
import { type InferenceService, InferenceServiceKind } from "./inference-service-kind.js";

const onnx = (more: JsonObject = {}): JsonObject => ({
  predictor: { model: { modelFormat: { name: "onnx" }, storageUri: "hf://org/model", ...more } },
});
const messageOf = (service: InferenceService): string =>
  service.status?.conditions?.find(({ type }) => type === "Ready")?.message ?? "";
const scheduled = [{ type: "PodScheduled", status: "True" }];
const status = (more: JsonObject): JsonObject => ({
  phase: "Running",
  conditions: scheduled,
  containerStatuses: [{ name: "kserve-container", image: "x", imageID: "", ready: false, restartCount: 0, ...more }],
});

test.each<[what: string, annotations: JsonObject]>([
  ["as it is", {}],
  ["while its pods stay as they were built", { "serving.kserve.io/disable-auto-update": "true" }],
])("a model that shows to be code gets an init container, which it keeps: a service %s", async (_what, annotations) => {
  const cluster = await startServing();
  await applyService(cluster, "a", onnx(), { annotations });
  const first = await deploymentOf(cluster, "a-predictor");
  expect(first.spec.template.spec?.initContainers).toBeUndefined();
  await addPod(cluster, "a-1", first, status({ state: { running: { startedAt: "2026-01-01T00:00:00Z" } } }));
  await until(cluster, "a", (service) => conditionOf(service, "Ready") === "Unknown Fetching");

  await addPod(
    cluster,
    "a-2",
    first,
    status({ state: { terminated: { exitCode: 1, message: "ModelIsCode: model.js is code, and this server holds" } } }),
  );
  const second = await deploymentOf(
    cluster,
    "a-predictor",
    ({ spec }) => spec.template.spec?.initContainers !== undefined,
  );
  expect(second.spec.template.spec?.initContainers).toMatchObject([
    { name: "storage-initializer", args: expect.arrayContaining(["--model-uri", "hf://org/model", "--fetch-to"]) },
  ]);
  expect(second.spec.template.spec?.containers[0]?.args).toEqual([
    ...["--model-name=a", "--model-dir=/mnt/models", "--http=8080"],
  ]);

  // The pods that said so are gone, and the same model is asked for otherwise.
  await cluster.client.json("DELETE", "/api/v1/namespaces/models/pods/a-2?gracePeriodSeconds=0");
  await applyService(cluster, "a", onnx({ args: ["--max-queued=1"] }), { annotations });
  const third = await deploymentOf(cluster, "a-predictor", ({ spec }) =>
    JSON.stringify(spec.template.spec?.containers[0]?.args).includes("--max-queued=1"),
  );
  expect(third.spec.template.spec?.initContainers).toHaveLength(1);
});

test("a model that cannot be fetched is failed until it can be, and told of once", async () => {
  const cluster = await startServing();
  await applyService(cluster, "a", onnx());
  const deployment = await deploymentOf(cluster, "a-predictor");
  const lastState = { terminated: { exitCode: 1, message: "ModelDownloadFailed: NotFound: hf://org/model: 404" } };
  const running = { running: { startedAt: "2026-01-01T00:00:00Z" } };
  await addPod(cluster, "a-1", deployment, status({ state: lastState, restartCount: 0 }));
  await until(cluster, "a", (service) => conditionOf(service, "Ready") === "False ModelDownloadFailed");

  const reasons = new Set<string>();
  const stop = cluster.informers.informer(InferenceServiceKind).onChange(() => {
    const found = cluster.informers.informer(InferenceServiceKind).get({ namespace, name: "a" });
    if (found !== undefined) reasons.add(conditionOf(found, "Ready"));
  });
  const pods = cluster.client.resource(PodKind);
  const states = [running, { waiting: { reason: "CrashLoopBackOff", message: "back-off 10s restarting" } }];
  for (const [index, state] of [...states, ...states].entries()) {
    const restartCount = 1 + (index >> 1);
    const next = status({
      state: { running: null, terminated: null, waiting: null, ...state },
      lastState,
      restartCount,
    });
    await pods.patch("a-1", "merge", { status: next }, { namespace, subresource: "status" });
    const said = `restarted ${restartCount === 1 ? "once" : `${restartCount} times`}${"running" in state ? "; it is" : ")"}`;
    await until(cluster, "a", (service) => messageOf(service).includes(said));
  }
  stop();
  expect([...reasons]).toEqual(["False ModelDownloadFailed"]);
  const told = await cluster.ledger.query({ kind: "InferenceService", name: "a", topic: "readiness" });
  expect(told.filter(({ outcome }) => outcome.includes("ModelDownloadFailed"))).toHaveLength(1);
});
