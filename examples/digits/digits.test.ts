import { InferenceSession, Tensor } from "onnxruntime-node";
import { expect, test } from "vitest";
import { loadDigits, PIXELS, splitDigits } from "./data.js";
import { DEFAULT_TRAINING, evaluate, largest, predictProbabilities, trainNetwork } from "./mlp.js";
import { encodeNetwork } from "./model.js";

test("the split is seeded, stratified, complete and disjoint", async () => {
  const all = await loadDigits();
  const split = splitDigits(all, 5);
  const again = splitDigits(all, 5);
  const other = splitDigits(all, 6);

  expect(all.count).toBe(1797);
  expect(split.train.count + split.validation.count + split.test.count).toBe(1797);
  expect(Math.abs(split.test.count / all.count - 0.3)).toBeLessThan(0.005);
  expect(again.test.labels).toEqual(split.test.labels);
  expect(again.test.pixels).toEqual(split.test.pixels);
  expect(other.test.pixels).not.toEqual(split.test.pixels);
  for (let digit = 0; digit < 10; digit++) {
    const share = (labels: Uint8Array) => labels.filter((label) => label === digit).length / labels.length;
    expect(Math.abs(share(split.test.labels) - share(all.labels))).toBeLessThan(0.005);
  }
  const sums = (pixels: Float32Array) => pixels.reduce((sum, pixel) => sum + pixel, 0);
  expect(sums(split.train.pixels) + sums(split.validation.pixels) + sums(split.test.pixels)).toBe(sums(all.pixels));
});

test("a trained network is at least 96 % right on untouched rows, and its ONNX form answers as it does", {
  timeout: 180_000,
}, async () => {
  const split = splitDigits(await loadDigits());
  const { network, history, bestEpoch } = await trainNetwork(split.train, split.validation, DEFAULT_TRAINING);
  const session = await InferenceSession.create(encodeNetwork(network));
  const { probabilities, label } = await session.run({
    input: new Tensor("float32", split.test.pixels, [split.test.count, PIXELS]),
  });

  expect(evaluate(network, split.test).accuracy).toBeGreaterThanOrEqual(0.96);
  expect(bestEpoch).toBeLessThanOrEqual(history.length);
  expect(session.inputMetadata[0]).toMatchObject({ name: "input", type: "float32", shape: ["batch", PIXELS] });
  const own = predictProbabilities(network, split.test.pixels, split.test.count);
  const theirs = probabilities?.data as Float32Array;
  for (let i = 0; i < own.length; i++) expect(Math.abs((own[i] ?? 0) - (theirs[i] ?? 1))).toBeLessThan(1e-5);
  for (let row = 0; row < split.test.count; row++) {
    expect(Number((label as Tensor).data[row])).toBe(largest(own, row));
  }
});

test("training is the same bit for bit with the same seed", async () => {
  const split = splitDigits(await loadDigits());
  const options = { ...DEFAULT_TRAINING, epochs: 2 };

  const first = await trainNetwork(split.train, split.validation, options);
  const second = await trainNetwork(split.train, split.validation, options);

  expect(second.history).toEqual(first.history);
  expect(encodeNetwork(second.network)).toEqual(encodeNetwork(first.network));
});
