import { CLASSES, PIXELS } from "../../examples/digits/data.js";
import { encodeNetwork } from "../../examples/digits/model.js";
import type { JsonObject } from "../../src/kernel/kinds/index.js";
import { modelServerRuntime } from "../../src/modules/serving/runtime.fixture.js";

/** A classifier that knows nothing, but answers: every weight is 0. */
function blankModel(): string {
  const layer = {
    inputs: PIXELS,
    outputs: CLASSES,
    weights: new Float32Array(PIXELS * CLASSES),
    bias: new Float32Array(CLASSES),
  };
  return Buffer.from(encodeNetwork({ scale: 1, layers: [layer] })).toString("base64");
}

/** What serves it in a member, under the name `blank`. */
export const blankManifests = (namespace: string): JsonObject[] => [
  {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "model", namespace },
    binaryData: { "model.onnx": blankModel() },
  },
  modelServerRuntime(namespace, ["--model-name=blank", "--model-dir=/model"], {
    container: { volumeMounts: [{ name: "model", mountPath: "/model" }] },
    pod: { volumes: [{ name: "model", configMap: { name: "model" } }] },
  }),
  {
    apiVersion: "tensorstack.dev/v1beta1",
    kind: "MLService",
    metadata: { name: "blank", namespace },
    spec: { default: "v1", releases: [{ name: "v1", predictor: { minReplicas: 1, model: { runtime: "onnx" } } }] },
  },
];

/** Where the hub's gateway takes requests for it. */
export const blankPath = (namespace: string): string =>
  `/t9k/hypermlservices/namespaces/${namespace}/blank/v2/models/blank/infer`;

/** One inference. */
export const blankRequest = JSON.stringify({
  inputs: [{ name: "input", datatype: "FP32", shape: [1, PIXELS], data: Array.from({ length: PIXELS }, () => 0) }],
});
