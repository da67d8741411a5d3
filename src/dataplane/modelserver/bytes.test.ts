import { execFileSync } from "node:child_process";
import { afterAll, test as always, beforeAll, expect } from "vitest";
import { unless } from "../../testing/unless.js";
import { callGrpc, serveProtocols } from "./protocols.fixture.js";
import { identityModel } from "./text/letters.fixture.js";

/** What gives back what it got, in each form of a model that may be code; and, in turn, bytes of its own. */
const SPECS = '[{ "name": "NAME", "datatype": "BYTES", "shape": [-1] }]';
const javascript = `
export const inputs = ${SPECS.replace("NAME", "x")};
export const outputs = ${SPECS.replace("NAME", "y")};
export const batchable = true;
export const predict = ({ x }) => ({ y: x.data.map((each) => each === "own" ? Uint8Array.of(0xc3, 0x28) : each) });
`;
const python = `
inputs = ${SPECS.replace("NAME", "x")}
outputs = ${SPECS.replace("NAME", "y")}
def predict(values):
    return {"y": [b"\\xc3(" if each == "own" else each for each in values["x"]]}
`;
const hasPython = (): boolean => {
  try {
    execFileSync("python3", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
};
const noPython = hasPython() ? undefined : "no python3 here";

let server: Awaited<ReturnType<typeof serveProtocols>>;
beforeAll(async () => {
  server = await serveProtocols(
    {},
    {
      "javascript/1/model.js": javascript,
      ...(noPython === undefined ? { "python/1/model.py": python } : {}),
      "onnx/1/model.onnx": identityModel("BYTES"),
    },
  );
});
afterAll(() => server.stop());

const blob = Buffer.from([0xff, 0x00, 0xfe]);
const own = Buffer.from([0xc3, 0x28]);
const elements = (...contents: (Buffer | string)[]): Buffer =>
  Buffer.concat(
    contents.flatMap((content) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(Buffer.byteLength(content));
      return [length, Buffer.from(content)];
    }),
  );

/** V2 with its binary extension, there and back. */
async function inferBinary(model: string, content: Buffer, shape: number[], isBinary = true) {
  const head = JSON.stringify({
    inputs: [{ name: "x", datatype: "BYTES", shape, parameters: { binary_data_size: content.length } }],
    parameters: { binary_data_output: isBinary },
  });
  const answer = await fetch(`${server.url}/v2/models/${model}/infer`, {
    method: "POST",
    headers: { "inference-header-content-length": String(head.length) },
    body: Buffer.concat([Buffer.from(head), content]),
  });
  const body = Buffer.from(await answer.arrayBuffer());
  const length = Number(answer.headers.get("inference-header-content-length") ?? body.length);
  return { status: answer.status, head: body.toString("utf8", 0, length), content: body.subarray(length) };
}

const checkExact = (model: string) => async (): Promise<void> => {
  const given = elements(blob, "ä\0", "", "own");
  const expected = elements(blob, "ä\0", "", own);
  expect(await inferBinary(model, given, [4])).toMatchObject({ status: 200, content: expected });

  const about = { name: "x", datatype: "BYTES", shape: [4] };
  const raw = { model_name: model, inputs: [about], raw_input_contents: [given] };
  expect((await callGrpc(server.port, "ModelInfer", [raw])).answers[0]?.["raw_output_contents"]).toEqual([expected]);
  const contents = { bytes_contents: [blob, Buffer.from("ä\0"), Buffer.alloc(0), Buffer.from("own")] };
  const typed = await callGrpc(server.port, "ModelInfer", [{ model_name: model, inputs: [{ ...about, contents }] }]);
  expect(typed.answers[0]).toMatchObject({
    outputs: [{ contents: { bytes_contents: [blob, Buffer.from("ä\0"), Buffer.alloc(0), own] } }],
  });

  // V1 has a form for bytes; V2's JSON has none.
  const v1 = await fetch(`${server.url}/v1/models/${model}:predict`, {
    method: "POST",
    body: JSON.stringify({ instances: [{ b64: blob.toString("base64") }, "text"] }),
  });
  expect(await v1.json()).toEqual({ predictions: [{ b64: blob.toString("base64") }, "text"] });
  expect(await inferBinary(model, elements(blob), [1], false)).toMatchObject({
    status: 400,
    head: expect.stringContaining(
      "output y holds bytes that are not UTF-8, which JSON cannot say; ask for binary data",
    ),
  });
};

always(
  "elements that are no text go through a model in JavaScript to the bit, and come from it",
  checkExact("javascript"),
);
unless(noPython)(
  "elements that are no text go through a model in Python to the bit, and come from it",
  checkExact("python"),
);

always(
  "onnxruntime's texts are UTF-8 without NUL: each request that has others is refused, and nobody else's with it",
  async () => {
    const asked = [elements(blob), elements("a\0b"), elements("ä")];
    const answers = await Promise.all(asked.map((content) => inferBinary("onnx", content, [1, 1])));
    expect(answers.map(({ status }) => status)).toEqual([400, 400, 200]);
    expect(answers.map(({ head }) => head)).toEqual([
      expect.stringContaining("input x: element 0 is not UTF-8, which text tensors of this model cannot carry"),
      expect.stringContaining("input x: element 0 holds a NUL byte"),
      expect.stringContaining('"binary_data_size":6'),
    ]);
  },
);
