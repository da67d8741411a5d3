import { afterEach, expect, test } from "vitest";
import { type Closers, counter, eater, openRepository, scale, tensor } from "../models.fixture.js";

const closers: Closers = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const count = (n: bigint) => [tensor("n", "INT64", BigInt64Array.of(n))];
const pair = (a: number, b: number) => [tensor("x", "FP32", Float32Array.of(a, b), [1, 2])];

test("a model that hangs in native code is ended by its deadline, told, counted and back; others answer meanwhile", async () => {
  const { repository, page } = await openRepository(
    {
      "hang/config.json": JSON.stringify({ parameters: { run_timeout_ms: { string_value: "1500" } } }),
      "hang/1/model.onnx": counter(),
      "fine/1/model.onnx": scale(3),
    },
    closers,
  );
  const hang = repository.find("hang").batcher;

  const before = await hang.infer(count(5n));
  const hanging = hang.infer(count(10n ** 15n));
  const neighbour = await repository.find("fine").batcher.infer(pair(1, 2));
  const error = await hanging.catch((reason: unknown) => reason);
  const told = repository.index().find(({ name }) => name === "hang");
  const after = await hang.infer(count(7n));

  expect(before[0]?.data[0]).toBe(5n);
  expect([...(neighbour[0]?.data ?? [])]).toEqual([3, 6]);
  expect(error).toMatchObject({ status: 504, kind: "timeout" });
  expect(told).toMatchObject({ state: "UNAVAILABLE" });
  expect(told?.reason).toContain("RuntimeUnhealthy: the model did not answer within 1500 ms");
  expect(after[0]?.data[0]).toBe(7n);
  expect(repository.index().find(({ name }) => name === "hang")).toMatchObject({ state: "READY" });
  expect(page()).toContain('argosy_modelserver_worker_faults_total{model="hang",version="1",kind="timeout"} 1');
});

test("a model that eats memory fails alone, and answers the next request", async () => {
  const { repository } = await openRepository({ "eat/1/model.onnx": eater(), "fine/1/model.onnx": scale(3) }, closers, {
    limits: { memoryBytes: 400 * 2 ** 20 },
  });
  const eat = repository.find("eat").batcher;

  const error = await eat.infer(count(4_000_000_000n)).catch((reason: unknown) => reason);
  const neighbour = await repository.find("fine").batcher.infer(pair(1, 2));
  const after = await eat.infer(count(12n));

  expect(error).toMatchObject({ code: "HttpError" });
  expect([...(neighbour[0]?.data ?? [])]).toEqual([3, 6]);
  expect(after[0]?.data[0]).toBe(12);
});

test("here, in a thread and in a process the same model gives the same", async () => {
  const files = Object.fromEntries(
    ["inline", "thread", "process"].flatMap((place) => [
      [`${place}/config.json`, JSON.stringify({ parameters: { placement: place } })],
      [`${place}/1/model.onnx`, scale(-0.5)],
    ]),
  );
  const { repository } = await openRepository(files, closers);

  const rows = Float32Array.from({ length: 4000 }, (_, index) => index - 7);
  const answers = await Promise.all(
    ["inline", "thread", "process"].map((name) =>
      repository.find(name).batcher.infer([tensor("x", "FP32", rows, [2000, 2])]),
    ),
  );

  for (const [output] of answers) {
    expect(output).toMatchObject({ name: "y", datatype: "FP32", shape: [2000, 2] });
    expect(output?.data).toEqual(rows.map((value) => value * -0.5));
  }
});

test("a model whose run time its inputs do not bound may not run in the answering thread", async () => {
  const { repository } = await openRepository(
    { "m/config.json": JSON.stringify({ parameters: { placement: "inline" } }), "m/1/model.onnx": counter() },
    closers,
  );

  expect(repository.index()).toMatchObject([{ name: "m", state: "UNAVAILABLE" }]);
  expect(repository.index()[0]?.reason).toContain("ModelRefused: ");
});

test("several instances of a model run at once", async () => {
  const { repository } = await openRepository(
    {
      "m/config.json": JSON.stringify({ instance_group: [{ count: 2 }], parameters: { run_timeout_ms: "1500" } }),
      "m/1/model.onnx": counter(),
    },
    closers,
  );
  const { batcher } = repository.find("m");

  const hanging = batcher.infer(count(10n ** 15n)).catch((reason: unknown) => reason);
  const quick = await batcher.infer(count(4n));

  expect(quick[0]?.data[0]).toBe(4n);
  expect(await hanging).toMatchObject({ status: 504 });
});
