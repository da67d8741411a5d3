/** A multilayer perceptron with ReLU and softmax, trained by mini-batches and Adam, in plain Float32Array loops. */
import { seededRandom } from "../../src/kernel/clock/index.js";
import type { Random } from "../../src/kernel/clock/types.js";
import type { Samples } from "./data.js";
import { CLASSES, PIXEL_MAX, PIXELS, shuffle } from "./data.js";

/** One dense layer: `weights` is [inputs × outputs], row by row. */
export interface Layer {
  readonly inputs: number;
  readonly outputs: number;
  readonly weights: Float32Array;
  readonly bias: Float32Array;
}

/** A trained network. Inputs are pixels times `scale`. */
export interface Network {
  readonly scale: number;
  readonly layers: readonly Layer[];
}

/** How to train. */
export interface TrainOptions {
  readonly seed: number;
  readonly hidden: readonly number[];
  readonly epochs: number;
  readonly batchSize: number;
  readonly learningRate: number;
  /** Decoupled weight decay, a share of the learning rate. */
  readonly weightDecay: number;
  /** Stop after so many epochs without a better validation loss. */
  readonly patience: number;
  /** Share of the pictures of an epoch that are moved by one pixel (data augmentation). */
  readonly shiftShare: number;
}

/** Defaults that reach about 0.98 on the untouched test rows. */
export const DEFAULT_TRAINING: TrainOptions = {
  seed: 7,
  hidden: [96, 48],
  epochs: 60,
  batchSize: 32,
  learningRate: 0.002,
  weightDecay: 0.01,
  patience: 12,
  shiftShare: 0.3,
};

/** What one epoch gave. */
export interface EpochResult {
  readonly epoch: number;
  readonly trainLoss: number;
  readonly validationLoss: number;
  readonly validationAccuracy: number;
}

/** The best network by validation loss, and how it went. */
export interface TrainResult {
  readonly network: Network;
  readonly bestEpoch: number;
  readonly history: readonly EpochResult[];
}

/** Trains with early stopping. Same samples, options and seed: same result, bit for bit. `onEpoch` is awaited after each epoch. */
export async function trainNetwork(
  train: Samples,
  validation: Samples,
  options: TrainOptions,
  onEpoch: (result: EpochResult) => Promise<void> | void = () => {},
): Promise<TrainResult> {
  const random = seededRandom(options.seed);
  const network = createNetwork(options.hidden, random);
  const trainer = createTrainer(network, options);
  const order = Uint32Array.from({ length: train.count }, (_, index) => index);
  const history: EpochResult[] = [];
  let best = { loss: Number.POSITIVE_INFINITY, epoch: 0, layers: copyLayers(network.layers) };
  for (let epoch = 1; epoch <= options.epochs; epoch++) {
    shuffle(order, random);
    let lossSum = 0;
    for (let start = 0; start < train.count; start += options.batchSize) {
      const rows = order.subarray(start, Math.min(start + options.batchSize, train.count));
      lossSum += trainer.step(gather(train, rows, options.shiftShare, random)) * rows.length;
    }
    const checked = evaluate(network, validation);
    const result = {
      epoch,
      trainLoss: lossSum / train.count,
      validationLoss: checked.loss,
      validationAccuracy: checked.accuracy,
    };
    history.push(result);
    if (checked.loss < best.loss) best = { loss: checked.loss, epoch, layers: copyLayers(network.layers) };
    await onEpoch(result);
    if (epoch - best.epoch >= options.patience) break;
  }
  return { network: { scale: network.scale, layers: best.layers }, bestEpoch: best.epoch, history };
}

/** Class probabilities, [count × 10]. */
export function predictProbabilities(network: Network, pixels: Float32Array, count: number): Float32Array {
  let values: Float32Array = pixels.map((pixel) => pixel * network.scale);
  for (const [index, layer] of network.layers.entries()) {
    values = dense(layer, values, count);
    if (index < network.layers.length - 1) relu(values);
  }
  softmax(values, count);
  return values;
}

/** Mean cross-entropy and share of right answers. */
export function evaluate(network: Network, samples: Samples): { loss: number; accuracy: number } {
  const probabilities = predictProbabilities(network, samples.pixels, samples.count);
  let loss = 0;
  let right = 0;
  for (let row = 0; row < samples.count; row++) {
    const label = samples.labels[row] ?? 0;
    loss -= Math.log(Math.max(probabilities[row * CLASSES + label] ?? 0, 1e-12));
    if (largest(probabilities, row) === label) right++;
  }
  return { loss: loss / samples.count, accuracy: right / samples.count };
}

/** The most probable class of a row; the first one on a tie, as ONNX' ArgMax. */
export function largest(probabilities: Float32Array, row: number): number {
  let best = 0;
  for (let klass = 1; klass < CLASSES; klass++) {
    if ((probabilities[row * CLASSES + klass] ?? 0) > (probabilities[row * CLASSES + best] ?? 0)) best = klass;
  }
  return best;
}

interface Batch {
  readonly count: number;
  readonly inputs: Float32Array;
  readonly labels: Uint8Array;
}

function createNetwork(hidden: readonly number[], random: Random): Network {
  const sizes = [PIXELS, ...hidden, CLASSES];
  const layers = sizes.slice(1).map((outputs, index) => {
    const inputs = sizes[index] ?? PIXELS;
    const deviation = Math.sqrt(2 / inputs);
    const weights = Float32Array.from({ length: inputs * outputs }, () => gaussian(random) * deviation);
    return { inputs, outputs, weights, bias: new Float32Array(outputs) };
  });
  return { scale: 1 / PIXEL_MAX, layers };
}

function gaussian(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}

function copyLayers(layers: readonly Layer[]): readonly Layer[] {
  return layers.map((layer) => ({ ...layer, weights: layer.weights.slice(), bias: layer.bias.slice() }));
}

function gather(samples: Samples, rows: Uint32Array, shiftShare: number, random: Random): Batch {
  const inputs = new Float32Array(rows.length * PIXELS);
  const labels = new Uint8Array(rows.length);
  for (const [index, row] of rows.entries()) {
    const picture = samples.pixels.subarray(row * PIXELS, (row + 1) * PIXELS);
    const moved = random.next() < shiftShare;
    const dx = moved ? random.int(3) - 1 : 0;
    const dy = moved ? random.int(3) - 1 : 0;
    for (let y = 0; y < 8; y++) {
      for (let x = 0; x < 8; x++) {
        const inside = y + dy >= 0 && y + dy < 8 && x + dx >= 0 && x + dx < 8;
        inputs[index * PIXELS + y * 8 + x] = inside ? (picture[(y + dy) * 8 + x + dx] ?? 0) / PIXEL_MAX : 0;
      }
    }
    labels[index] = samples.labels[row] ?? 0;
  }
  return { count: rows.length, inputs, labels };
}

function dense(layer: Layer, inputs: Float32Array, count: number): Float32Array {
  const { outputs, weights, bias } = layer;
  const result = new Float32Array(count * outputs);
  for (let row = 0; row < count; row++) {
    const out = row * outputs;
    result.set(bias, out);
    for (let i = 0; i < layer.inputs; i++) {
      const value = inputs[row * layer.inputs + i] ?? 0;
      if (value === 0) continue;
      const from = i * outputs;
      for (let o = 0; o < outputs; o++) result[out + o] = (result[out + o] ?? 0) + value * (weights[from + o] ?? 0);
    }
  }
  return result;
}

function relu(values: Float32Array): void {
  for (let i = 0; i < values.length; i++) if ((values[i] ?? 0) < 0) values[i] = 0;
}

function softmax(values: Float32Array, count: number): void {
  for (let row = 0; row < count; row++) {
    const from = row * CLASSES;
    const top = values[from + largest(values, row)] ?? 0;
    let sum = 0;
    for (let klass = 0; klass < CLASSES; klass++) {
      const power = Math.exp((values[from + klass] ?? 0) - top);
      values[from + klass] = power;
      sum += power;
    }
    for (let klass = 0; klass < CLASSES; klass++) values[from + klass] = (values[from + klass] ?? 0) / sum;
  }
}

/** Forward, backward and Adam on one batch; `step` changes the network and returns the batch's mean loss. */
function createTrainer(network: Network, options: TrainOptions): { step(batch: Batch): number } {
  const states = network.layers.map((layer) => ({
    weights: createAdam(layer.weights, options, options.weightDecay),
    bias: createAdam(layer.bias, options, 0),
  }));
  const forward = (batch: Batch): Float32Array[] => {
    const activations = [batch.inputs];
    let values = batch.inputs;
    for (const [index, layer] of network.layers.entries()) {
      values = dense(layer, values, batch.count);
      if (index < network.layers.length - 1) relu(values);
      activations.push(values);
    }
    softmax(values, batch.count);
    return activations;
  };
  return {
    step(batch) {
      const activations = forward(batch);
      let gradient = activations.at(-1) ?? new Float32Array();
      let loss = 0;
      for (let row = 0; row < batch.count; row++) {
        const at = row * CLASSES + (batch.labels[row] ?? 0);
        loss -= Math.log(Math.max(gradient[at] ?? 0, 1e-12));
        gradient[at] = (gradient[at] ?? 0) - 1;
      }
      for (let index = network.layers.length - 1; index >= 0; index--) {
        const layer = network.layers[index];
        const state = states[index];
        const inputs = activations[index];
        if (layer === undefined || state === undefined || inputs === undefined) continue;
        const gradients = layerGradients(layer, inputs, gradient, batch.count);
        if (index > 0) gradient = inputGradient(layer, inputs, gradient, batch.count);
        state.weights(gradients.weights);
        state.bias(gradients.bias);
      }
      return loss / batch.count;
    },
  };
}

function layerGradients(
  layer: Layer,
  inputs: Float32Array,
  gradient: Float32Array,
  count: number,
): Pick<Layer, "weights" | "bias"> {
  const { outputs } = layer;
  const weights = new Float32Array(layer.weights.length);
  const bias = new Float32Array(outputs);
  const share = 1 / count;
  for (let row = 0; row < count; row++) {
    const at = row * outputs;
    for (let o = 0; o < outputs; o++) bias[o] = (bias[o] ?? 0) + (gradient[at + o] ?? 0) * share;
    for (let i = 0; i < layer.inputs; i++) {
      const value = (inputs[row * layer.inputs + i] ?? 0) * share;
      if (value === 0) continue;
      const to = i * outputs;
      for (let o = 0; o < outputs; o++) weights[to + o] = (weights[to + o] ?? 0) + value * (gradient[at + o] ?? 0);
    }
  }
  return { weights, bias };
}

/** The gradient before this layer, through the ReLU that made its inputs. */
function inputGradient(layer: Layer, inputs: Float32Array, gradient: Float32Array, count: number): Float32Array {
  const result = new Float32Array(count * layer.inputs);
  for (let row = 0; row < count; row++) {
    const at = row * layer.outputs;
    for (let i = 0; i < layer.inputs; i++) {
      if ((inputs[row * layer.inputs + i] ?? 0) === 0) continue;
      let sum = 0;
      for (let o = 0; o < layer.outputs; o++)
        sum += (gradient[at + o] ?? 0) * (layer.weights[i * layer.outputs + o] ?? 0);
      result[row * layer.inputs + i] = sum;
    }
  }
  return result;
}

/** Adam with decoupled weight decay (Kingma & Ba 2015; Loshchilov & Hutter 2019). Returns the function that applies a gradient. */
function createAdam(values: Float32Array, options: TrainOptions, decay: number): (gradient: Float32Array) => void {
  const first = new Float32Array(values.length);
  const second = new Float32Array(values.length);
  let steps = 0;
  return (gradient) => {
    steps++;
    const rate = (options.learningRate * Math.sqrt(1 - 0.999 ** steps)) / (1 - 0.9 ** steps);
    for (let i = 0; i < values.length; i++) {
      const g = gradient[i] ?? 0;
      const m = 0.9 * (first[i] ?? 0) + 0.1 * g;
      const v = 0.999 * (second[i] ?? 0) + 0.001 * g * g;
      first[i] = m;
      second[i] = v;
      const value = values[i] ?? 0;
      values[i] = value - (rate * m) / (Math.sqrt(v) + 1e-8) - options.learningRate * decay * value;
    }
  };
}
