import { rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { ModelError } from "./failures.js";
import { readModelConfig } from "./model-folder.js";
import { type Closers, folderWith, openRepository, scale, tensor } from "./models.fixture.js";
import { parseTextProto } from "./text-proto.js";

const closers: Closers = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const pair = [tensor("x", "FP32", Float32Array.of(1, 2), [1, 2])];
const linear = (slope: number) =>
  JSON.stringify({
    ...{ format: "argosy-sklearn", version: 1 },
    estimator: { type: "linear", coefficients: [[slope]], intercepts: [0] },
  });

test("versions stand side by side: all, the latest, or those that are named, with labels; a broken one leaves the others", async () => {
  const versions = Object.fromEntries([1, 2, 3, 10].map((version) => [`${version}/model.onnx`, scale(version)]));
  const of = (name: string, config: unknown) => ({
    ...Object.fromEntries(Object.entries(versions).map(([path, bytes]) => [`${name}/${path}`, bytes])),
    [`${name}/config.json`]: JSON.stringify(config),
  });
  const { repository } = await openRepository(
    {
      ...of("all", { version_labels: { stable: 2, canary: 10 } }),
      ...of("latest", { version_policy: { latest: { num_versions: 2 } } }),
      ...of("some", { version_policy: { specific: { versions: [1, 3] } } }),
      ...of("none", { version_policy: { specific: { versions: [7] } } }),
      ...of("broken", {}),
      "broken/3/model.onnx": "no model",
      "broken/4/readme.md": "nothing here",
    },
    closers,
  );

  expect(repository.versions("all")).toEqual(["1", "2", "3", "10"]);
  expect(repository.labels("all")).toEqual({ stable: "2", canary: "10" });
  expect(repository.versions("latest")).toEqual(["3", "10"]);
  expect(repository.versions("some")).toEqual(["1", "3"]);
  expect(() => repository.find("none")).toThrow("version_policy leaves none of the versions 1, 2, 3, 10");
  expect(repository.versions("broken")).toEqual(["1", "2", "10"]);
  expect(repository.index().filter(({ name, state }) => name === "broken" && state !== "READY")).toMatchObject([
    { version: "3", reason: expect.stringContaining("ModelLoadFailed") },
    { version: "4", reason: expect.stringContaining("ModelNotFound") },
  ]);
  const [third] = await repository.find("all", "3").batcher.infer(pair);
  expect([...(third?.data ?? [])]).toEqual([3, 6]);
});

test("MLServer's and Triton's folders are read as those servers read them", async () => {
  const { repository } = await openRepository(
    {
      "mlserver/model-settings.json": JSON.stringify({
        name: "mlserver",
        implementation: "mlserver_sklearn.SKLearnModel",
        max_batch_size: 16,
        max_batch_time: 0.001,
        parameters: { uri: "./other.json", version: "v0.1.0" },
      }),
      "mlserver/other.json": linear(5),
      "mlserver/notes.txt": "no model",
      "triton/config.pbtxt": `# a model
        name: "triton"
        platform: "onnxruntime_onnx"
        max_batch_size: 4
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 2 ] } ]
        version_policy: { latest { num_versions: 1 } }
        dynamic_batching { max_queue_delay_microseconds: 500 }
        parameters { key: "run_timeout_ms" value: { string_value: "9000" } }`,
      "triton/1/model.onnx": scale(1),
      "triton/2/model.onnx": scale(2),
      "custom/model-settings.json": JSON.stringify({ implementation: "models.MyModel" }),
      "outside/model-settings.json": JSON.stringify({ parameters: { uri: "../mlserver/other.json" } }),
    },
    closers,
  );

  expect(repository.versions("mlserver")).toEqual(["v0.1.0"]);
  const [five] = await repository
    .find("mlserver")
    .batcher.infer([tensor("input-0", "FP64", Float64Array.of(2), [1, 1])]);
  expect(five?.data[0]).toBe(10);
  expect(repository.versions("triton")).toEqual(["2"]);
  expect(repository.config("triton")).toMatchObject({ max_batch_size: 4, input: [{ name: "x", dims: [2] }] });
  expect(repository.index().find(({ name }) => name === "custom")?.reason).toContain("models.MyModel");
  expect(repository.index().find(({ name }) => name === "outside")?.reason).toContain(
    "must name a file in the model's folder",
  );
});

test("a model that is the only file may have any name; beside others it has to be told", async () => {
  const { repository } = await openRepository(
    {
      ...{ "lone/1/iris.json": linear(3), "lone/1/metadata.json": "{}" },
      ...{ "two/1/iris.json": linear(3), "two/1/notes.txt": "no model" },
      ...{ "above/iris/model.json": linear(3) },
    },
    closers,
  );

  const [three] = await repository.find("lone").batcher.infer([tensor("input-0", "FP64", Float64Array.of(2), [1, 1])]);
  expect(three?.data[0]).toBe(6);
  expect(repository.index().find(({ name }) => name === "two")?.reason).toContain("there is iris.json, notes.txt");
  expect(repository.index().find(({ name }) => name === "above")?.reason).toContain("no file, but folders: iris");
});

test("Triton's text format: lists, maps, comments, both ways of nesting; anything else is refused with its line", () => {
  expect(
    parseTextProto(
      `a: 1, b < c: "x\\"y" > d: [1, 2.5, -3] d: 4 e { } # end
       parameters: { key: 'k' value { string_value: 'v' } } instance_group [ { count: 2 kind: KIND_CPU } ] f: true`,
      "config.pbtxt",
    ),
  ).toEqual({
    ...{ a: 1, b: { c: 'x"y' }, d: [1, 2.5, -3, 4], e: {}, f: true },
    parameters: { k: { string_value: "v" } },
    instance_group: [{ count: 2, kind: "KIND_CPU" }],
  });
  for (const text of ["a: [1", "a {", "a: }", "a: 1 ]", "\n\na: ~", `${"a{".repeat(50)}`, '{ "json": 1 }']) {
    expect(() => parseTextProto(text, "config.pbtxt"), text).toThrow(ModelError);
  }
  expect(() => parseTextProto("\n\na: ~", "config.pbtxt")).toThrow("config.pbtxt:3");
});

test("a configuration that is wrong names file and field", async () => {
  for (const [content, words] of [
    ["{", "is not JSON"],
    ['{"max_batch_size": -1}', "max_batch_size must be a whole number"],
    ['{"parameters": 5}', "parameters must be an object"],
    ['{"default_model_filename": "../x"}', "default_model_filename must name a file"],
    ['{"instance_group": [{"count": "two"}]}', "instance_group.count must be a whole number"],
  ] as const) {
    const folder = await folderWith({ "config.json": content }, closers);
    await expect(readModelConfig(folder)).rejects.toThrow(words);
  }
});

test.each([
  ["model.pt", "x", "UnsupportedFormat: ", "torch.onnx.export"],
  ["saved.pb", "x", "UnsupportedFormat: ", "tf2onnx"],
  ["model.bst", "binf\0\0", "UnsupportedFormat: ", "save it as JSON"],
  ["model.json", '{"what": 1}', "UnsupportedFormat: ", "neither XGBoost"],
  ["model.json", "", "UnsupportedFormat: ", "neither XGBoost"],
  ["model.joblib", "x", "ModelRefused: ", "--allow-pickles"],
  ["model.onnx", "", "ModelLoadFailed: ", "is empty"],
  ["readme.md", "x", "ModelNotFound: ", "there is readme.md"],
  ["iris.json", '{"what": 1}', "UnsupportedFormat: ", "neither XGBoost"],
])("%s: what it is and what to do", async (file, content, reason, words) => {
  const { repository } = await openRepository({ [`m/1/${file}`]: content }, closers);

  expect(repository.index()[0]?.reason).toMatch(new RegExp(`^${reason}`));
  expect(repository.index()[0]?.reason).toContain(words);
});

test("an ONNX file cut at any place is refused, counted, and hurts nobody", async () => {
  const whole = scale(2);
  const { repository, folder, page } = await openRepository(
    { "m/1/model.onnx": whole, "fine/1/model.onnx": whole },
    closers,
  );
  const file = join(folder, "m/1/model.onnx");
  let refused = 0;
  for (let length = whole.length - 1; length >= 0; length -= 7) {
    await truncate(file, length);
    await repository.load("m").then(
      () => expect.unreachable(`${length} bytes were loaded`),
      (error: unknown) => {
        refused++;
        expect(error).toBeInstanceOf(ModelError);
      },
    );
    // The version that was loaded before goes on answering.
    expect((await repository.find("m").batcher.infer(pair))[0]?.data[0]).toBe(2);
  }
  expect(page()).toContain(`argosy_modelserver_loads_total{model="m",outcome="failed"} ${refused}`);
  await rm(file);
  await repository.unload("m");
  await expect(repository.load("m")).rejects.toMatchObject({ reason: "ModelNotFound" });
  expect((await repository.find("fine").batcher.infer(pair))[0]?.data[0]).toBe(2);
});

test("loads and unloads of one model, many at once, happen one after the other, while it answers", async () => {
  const { repository, folder } = await openRepository({ "m/1/model.onnx": scale(1) }, closers);
  await writeFile(join(folder, "m/1/model.onnx"), scale(7));

  const work = Array.from({ length: 200 }, (_, index) =>
    index % 5 === 4 ? repository.unload("m") : repository.load("m"),
  );
  await Promise.all([...work, repository.load("m")]);

  const [output] = await repository.find("m").batcher.infer(pair);
  expect([...(output?.data ?? [])]).toEqual([7, 14]);
  expect(repository.memory()).toMatchObject({ resident: 1, known: 1 });
});
