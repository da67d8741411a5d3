import { type TensorSpec, type TensorValue, typeInfo } from "../../../kernel/tensors/index.js";

/** Zeros (empty texts) for every input; free dimensions are 1, the first `rows`. */
export function blankInputs(specs: readonly TensorSpec[], rows = 1): TensorValue[] {
  return specs.map((spec) => {
    const shape = spec.shape.map((size, index) => (size >= 0 ? size : index === 0 ? rows : 1));
    const count = shape.reduce((product, size) => product * size, 1);
    const data =
      spec.datatype === "BYTES" ? Array.from({ length: count }, () => "") : typeInfo(spec.datatype).make(count);
    return { name: spec.name, datatype: spec.datatype, shape, data };
  });
}
