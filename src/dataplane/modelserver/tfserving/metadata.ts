/** A model's signature as TensorFlow Serving tells it. */
import type { Datatype, TensorSpec } from "../../../kernel/tensors/index.js";
import type { ServedModel } from "../repository.js";

const DTYPES: Readonly<Record<Datatype, string>> = {
  ...{ BOOL: "DT_BOOL", UINT8: "DT_UINT8", UINT16: "DT_UINT16", UINT32: "DT_UINT32", UINT64: "DT_UINT64" },
  ...{ INT8: "DT_INT8", INT16: "DT_INT16", INT32: "DT_INT32", INT64: "DT_INT64" },
  ...{ FP16: "DT_HALF", BF16: "DT_BFLOAT16", FP32: "DT_FLOAT", FP64: "DT_DOUBLE", BYTES: "DT_STRING" },
};

/** The answer to `GET …/metadata`. */
export function signatureOf({ name, version, inputs, outputs }: ServedModel) {
  const tensors = (specs: readonly TensorSpec[]) =>
    Object.fromEntries(
      specs.map((spec) => [
        spec.name,
        {
          dtype: DTYPES[spec.datatype],
          tensor_shape: { dim: spec.shape.map((size) => ({ size: String(size), name: "" })), unknown_rank: false },
          name: spec.name,
        },
      ]),
    );
  const signature = { inputs: tensors(inputs), outputs: tensors(outputs), method_name: "tensorflow/serving/predict" };
  return {
    model_spec: { name, signature_name: "", version },
    metadata: { signature_def: { signature_def: { serving_default: signature } } },
  };
}
