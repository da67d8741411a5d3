import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CLASSES, PIXELS } from "../../examples/digits/data.js";
import { encodeNetwork } from "../../examples/digits/model.js";
import type { JsonObject } from "../../src/kernel/kinds/object.js";

/** Models `1`, `2`, `3`, … in folders: each answers its own number, whatever it is asked. `broken` is cut off in the middle. */
export function writeModels(folder: string, count: number): void {
  const write = (name: string, bytes: Uint8Array): void => {
    mkdirSync(join(folder, name), { recursive: true });
    writeFileSync(join(folder, name, "model.onnx"), bytes);
  };
  for (let label = 1; label <= count; label += 1) write(String(label), modelOf(label));
  const whole = modelOf(1);
  write("broken", whole.subarray(0, whole.length / 2));
}

function modelOf(label: number): Uint8Array {
  const bias = new Float32Array(CLASSES);
  bias[label] = 10;
  const layer = { inputs: PIXELS, outputs: CLASSES, weights: new Float32Array(PIXELS * CLASSES), bias };
  return encodeNetwork({ scale: 1, layers: [layer] });
}

const row = Array.from({ length: PIXELS }, () => 0);
/** One inference by the second protocol, and by the first. */
export const requestV2 = JSON.stringify({
  inputs: [{ name: "input", datatype: "FP32", shape: [1, PIXELS], data: row }],
});
/** One inference by the first protocol. */
export const requestV1 = JSON.stringify({ instances: [row] });

/** The number of the model that answered; undefined: that is no answer of one. */
export function labelIn(body: string): number | undefined {
  try {
    const { outputs, predictions } = JSON.parse(body) as {
      outputs?: { name: string; data: number[] }[];
      predictions?: { label: number }[];
    };
    return outputs?.find(({ name }) => name === "label")?.data[0] ?? predictions?.[0]?.label;
  } catch {
    return undefined;
  }
}

/** The folder as a volume that the pods of a namespace mount: it is the same on every node. */
export function volumeOf(folder: string, namespace: string): JsonObject[] {
  const common = {
    accessModes: ["ReadOnlyMany"],
    storageClassName: "",
  };
  return [
    {
      apiVersion: "v1",
      kind: "PersistentVolume",
      metadata: { name: "models" },
      spec: {
        ...common,
        capacity: { storage: "1Gi" },
        hostPath: { path: folder },
        claimRef: { namespace, name: "models" },
      },
    },
    {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: "models", namespace },
      spec: { ...common, resources: { requests: { storage: "1Gi" } }, volumeName: "models" },
    },
  ];
}
