import { join } from "node:path";
import { request } from "undici";
import { expect, test } from "vitest";
import { packageRoot } from "../src/kernel/assets/index.js";
import type { ApiClient } from "../src/kernel/client/types.js";
import { isConditionTrue } from "../src/kernel/kinds/index.js";
import { InferenceGraphKind } from "../src/modules/serving/kserve/graph-kind.js";
import { TrainedModelKind } from "../src/modules/serving/kserve/storage-kinds.js";
import { argosy, runProgram, startArgosy, withDataDirectory } from "./support/argosy.js";
import { clientOf } from "./support/fleet.js";
import { eventually } from "./support/polling.js";

const estimator = (factor: number): string =>
  JSON.stringify({
    ...{ format: "argosy-sklearn", version: 1 },
    estimator: { type: "linear", coefficients: [[factor, factor]], intercepts: [0], link: "identity", features: 2 },
  });

const many = [
  {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "files" },
    data: { sum: estimator(1), twice: estimator(2) },
  },
  {
    ...{ apiVersion: "serving.kserve.io/v1beta1", kind: "InferenceService", metadata: { name: "many" } },
    spec: {
      predictor: {
        sklearn: { volumeMounts: [{ name: "files", mountPath: "/files" }] },
        volumes: [
          {
            name: "files",
            configMap: { name: "files", items: ["sum", "twice"].map((key) => ({ key, path: `${key}/model.json` })) },
          },
        ],
      },
    },
  },
];
const model = (storageUri: string) => ({
  ...{ apiVersion: "serving.kserve.io/v1alpha1", kind: "TrainedModel", metadata: { name: "model" } },
  spec: { inferenceService: "many", model: { storageUri, framework: "sklearn", memory: "64Mi" } },
});

/** The address of an object of that kind, once this generation of it is ready. */
function addressOf(
  client: ApiClient,
  kind: typeof InferenceGraphKind | typeof TrainedModelKind,
  place: { readonly name: string; readonly namespace: string; readonly generation: number },
): Promise<string> {
  let seen: unknown;
  return eventually(
    `${kind.kind} ${place.name} is ready`,
    async () => {
      const found = await client.resource(kind as typeof InferenceGraphKind).find(place.name, place);
      seen = found?.status?.conditions;
      const { observedGeneration, url, conditions } = found?.status ?? {};
      return observedGeneration === place.generation && isConditionTrue(conditions, "Ready") ? url : undefined;
    },
    { boundMs: 60_000, seen: () => seen },
  );
}

/** Asks an address by its host, through whatever names it has. */
async function ask(address: string, body: unknown): Promise<[status: number, body: unknown]> {
  const { host, port, pathname } = new URL(address);
  const answer = await request(`http://127.0.0.1:${port}${pathname}`, {
    ...{ method: "POST", headers: { host }, body: JSON.stringify(body) },
  });
  return [answer.statusCode, await answer.body.json()];
}

test("the example's graph leads through pods to the right model; a pod without a model of its own loads what it is given", {
  timeout: 150_000,
}, async () => {
  await withDataDirectory(async (data) => {
    const running = startArgosy(["up", "--data", data, "--members", "edge"]);
    await running.says("\nready: ");
    const apply = async (objects: readonly object[]): Promise<void> => {
      const words = ["apply", "-f", "-", "--data", data, "--context", "edge"];
      const done = await runProgram(
        process.execPath,
        [join(packageRoot(), "bin", "argosy.mjs"), ...words],
        objects.map((each) => JSON.stringify(each)).join("\n---\n"),
      );
      expect(done.code, done.stderr).toBe(0);
    };
    const example = join(packageRoot(), "examples", "inference-graph", "pets.yaml");
    const applied = await argosy("apply", "-f", example, "--data", data, "--context", "edge");
    expect(applied.code, applied.stderr).toBe(0);
    await apply([...many, model("file:///files/sum")]);
    const client = await clientOf(data, "edge");

    const graph = await addressOf(client, InferenceGraphKind, { name: "breeds", namespace: "pets", generation: 1 });
    expect(await ask(graph, { instances: [20] })).toEqual([200, { predictions: ["beagle"] }]);
    expect(await ask(graph, { instances: [3] })).toEqual([200, { predictions: ["siamese"] }]);
    expect((await ask(graph, { rows: [3] }))[0]).toBe(400);

    const place = { name: "model", namespace: "default" };
    const address = await addressOf(client, TrainedModelKind, { ...place, generation: 1 });
    expect(await ask(address, { instances: [[3, 4]] })).toEqual([200, { predictions: [7] }]);
    await apply([model("file:///files/twice")]);
    await addressOf(client, TrainedModelKind, { ...place, generation: 2 });
    expect(await ask(address, { instances: [[3, 4]] })).toEqual([200, { predictions: [14] }]);
    await client.resource(TrainedModelKind).delete("model", { namespace: "default" });
    await eventually("the model is unloaded", async () =>
      (await ask(address, { instances: [[3, 4]] }))[0] === 404 ? true : undefined,
    );
    await client.close();
    running.child.kill("SIGTERM");
    await running.finished;
  });
});
