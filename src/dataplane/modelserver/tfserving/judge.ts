/** TensorFlow Serving's classify and regress: examples in, classes with scores or one number an example out. */
import { type Http1Answer, type Http1Request, HttpError } from "../../../kernel/http1/index.js";
import type { TensorValue } from "../../../kernel/tensors/index.js";
import { numbersOf, topIndices } from "../classification.js";
import type { ServerContext } from "../context.js";
import { counted, type Wanted } from "../http-inference.js";
import { readExamples } from "../v1.js";

/** Answers one request. */
export function judge(
  verb: "classify" | "regress",
  request: Http1Request,
  context: ServerContext,
  wanted: Wanted,
): Promise<Http1Answer> {
  return counted(request, context, wanted, async ({ model, body, caller, marks }) => {
    const inputs = readExamples(body, model);
    marks.read = context.clock.monotonicMs();
    const outputs = await context.inference.run(model, inputs, caller);
    marks.ran = context.clock.monotonicMs();
    const rows = inputs[0]?.shape[0] ?? 0;
    const result = verb === "classify" ? classify(outputs, rows) : regress(outputs, rows);
    return { status: 200, body: JSON.stringify({ result }) };
  });
}

const isFloat = ({ datatype }: TensorValue): boolean => /^(?:FP|BF)/.test(datatype);

/** Classes are named by an output of texts, or by their index. */
function classify(outputs: readonly TensorValue[], rows: number): [string, number][][] {
  const scores = outputs.find((each) => isFloat(each) && each.shape.length === 2 && each.shape[0] === rows);
  if (scores === undefined)
    throw new HttpError(400, "the model has no output with a score for each class; use predict");
  const [, size = 0] = scores.shape;
  const names = outputs.find(({ data }) => Array.isArray(data) && data.length === rows * size)?.data;
  const numberAt = numbersOf(scores);
  return Array.from({ length: rows }, (_, row) => {
    const values = Array.from({ length: size }, (__, index) => finite(numberAt(row * size + index), scores.name));
    return topIndices(values, size).map((index) => {
      const name = Array.isArray(names) ? names[row * size + index] : undefined;
      return [typeof name === "string" ? name : String(index), values[index] ?? 0];
    });
  });
}

function regress(outputs: readonly TensorValue[], rows: number): number[] {
  const found = outputs.find((each) => isFloat(each) && each.data.length === rows);
  if (found === undefined)
    throw new HttpError(400, "the model has no output with one number for each example; use predict");
  const numberAt = numbersOf(found);
  return Array.from({ length: rows }, (_, row) => finite(numberAt(row), found.name));
}

function finite(value: number, name: string): number {
  if (!Number.isFinite(value)) throw new HttpError(400, `output ${name} holds ${value}, which JSON cannot say`);
  return value;
}
