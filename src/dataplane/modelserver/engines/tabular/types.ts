import type { Datatype } from "../../../../kernel/tensors/index.js";

/** One thing that a table model can be asked for. */
export interface TableOutput {
  readonly name: string;
  readonly datatype: Extract<Datatype, "FP32" | "FP64" | "INT64" | "BYTES">;
  /** Numbers a row; 0: one, without a dimension of its own. */
  readonly width: number;
}

/** A model of rows of numbers. */
export interface TableModel {
  readonly platform: string;
  readonly features: number;
  /** Type in which clients are expected to send numbers. */
  readonly datatype: "FP32" | "FP64";
  /** What `predict` gives. */
  readonly outputs: readonly TableOutput[];
  /** One list an output, row-major; texts for BYTES. Throws a 400 `HttpError` for values that it cannot take. */
  predict(rows: Float64Array, count: number): readonly (Float64Array | readonly string[])[];
}
