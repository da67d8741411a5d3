import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startTracking, type TestTracking } from "./test-server.js";

let tracking: TestTracking;
beforeAll(async () => {
  tracking = await startTracking();
});
afterAll(() => tracking.close());

let names = 0;
const newName = (): string => `name-${names++}`;

interface Run {
  info: {
    run_id: string;
    run_name: string;
    status: string;
    lifecycle_stage: string;
    artifact_uri: string;
    experiment_id: string;
  };
  data: {
    metrics?: { key: string; value: number | string; step: number }[];
    params?: { key: string; value: string }[];
    tags?: { key: string; value: string }[];
  };
  inputs: { dataset_inputs?: unknown[] };
}

async function newExperiment(): Promise<string> {
  return (await tracking.send("experiments/create", { name: newName() })).json["experiment_id"] as string;
}
async function newRun(experimentId: string, more: object = {}): Promise<Run> {
  return (await tracking.send("runs/create", { experiment_id: experimentId, start_time: 1, ...more })).json[
    "run"
  ] as Run;
}
async function getRun(id: string): Promise<Run> {
  return (await tracking.get("runs/get", { run_id: id })).json["run"] as Run;
}

describe("experiments", () => {
  test("experiment 0 is there from the start, and once only", async () => {
    const { json } = await tracking.get("experiments/get", { experiment_id: "0" });

    expect(json["experiment"]).toMatchObject({
      name: "Default",
      artifact_location: "mlflow-artifacts:/0",
      lifecycle_stage: "active",
    });
  });

  test("names are unique, also against deleted ones; deleting takes the runs along, restoring brings them back", async () => {
    const name = newName();
    const id = (await tracking.send("experiments/create", { name })).json["experiment_id"] as string;
    const run = await newRun(id);
    await tracking.send("experiments/delete", { experiment_id: id });

    expect((await tracking.send("experiments/create", { name })).json["error_code"]).toBe("RESOURCE_ALREADY_EXISTS");
    expect((await getRun(run.info.run_id)).info.lifecycle_stage).toBe("deleted");
    const refused = await tracking.send("runs/create", { experiment_id: id });
    expect(refused.json["message"]).toContain("must be in the 'active' state");
    await tracking.send("experiments/restore", { experiment_id: id });
    expect((await getRun(run.info.run_id)).info.lifecycle_stage).toBe("active");
  });

  test.each<[string, object, string]>([
    ["no name", {}, "Missing value for required parameter 'name'"],
    ["a name that is too long", { name: "x".repeat(501) }, "'name' exceeds the maximum length of 500 characters"],
    ["a name that is a number", { name: 5 }, "Invalid value 5 for parameter 'name' supplied"],
    ["a web page as location", { name: "w", artifact_location: "https://x/y" }, "cannot use the 'https' scheme"],
    ["a climbing location", { name: "w", artifact_location: "s3://b/%252e%252e/x" }, "without relative references"],
    [
      "a tag whose key is a path out",
      { name: "w", tags: [{ key: "../x", value: "" }] },
      "must not resolve to other names",
    ],
  ])("refuses %s", async (_, body, message) => {
    const answer = await tracking.send("experiments/create", body);

    expect([answer.status, answer.json["error_code"]]).toEqual([400, "INVALID_PARAMETER_VALUE"]);
    expect(answer.json["message"]).toContain(message);
  });
});

describe("runs", () => {
  test("a run keeps its name and its name's tag equal, whichever is changed", async () => {
    const run = await newRun(await newExperiment(), { run_name: "one" });
    const id = run.info.run_id;

    await tracking.send("runs/set-tag", { run_id: id, key: "mlflow.runName", value: "two" });
    expect((await getRun(id)).info.run_name).toBe("two");
    await tracking.send("runs/update", { run_id: id, run_name: "three" });
    expect((await getRun(id)).data.tags).toEqual([{ key: "mlflow.runName", value: "three" }]);
    const both = await tracking.send("runs/create", {
      experiment_id: "0",
      run_name: "a",
      tags: [{ key: "mlflow.runName", value: "b" }],
    });
    expect(both.json["message"]).toContain("with different values");
    expect((await newRun("0")).info.run_name).toMatch(/^[a-z]+-[a-z]+-\d+$/);
  });

  test("the latest of a metric is the one of the highest step, then time, then value, in whatever order they come", async () => {
    const run = await newRun(await newExperiment());
    const points = [
      { step: 2, timestamp: 5, value: 0.1 },
      { step: 1, timestamp: 9, value: 9 },
      { step: 2, timestamp: 6, value: 0.2 },
      { step: 2, timestamp: 6, value: 0.15 },
      { step: 2, timestamp: 6, value: 0.2 },
    ];
    for (const point of points) await tracking.send("runs/log-metric", { run_id: run.info.run_id, key: "m", ...point });
    await tracking.send("runs/log-batch", {
      run_id: run.info.run_id,
      metrics: points.map((point) => ({ key: "n", ...point })),
    });

    const { metrics } = (await getRun(run.info.run_id)).data;

    expect(metrics?.map(({ key, value, step }) => [key, value, step])).toEqual([
      ["m", 0.2, 2],
      ["n", 0.2, 2],
    ]);
    const history = await tracking.get("metrics/get-history", { run_id: run.info.run_id, metric_key: "m" });
    expect(history.json["metrics"]).toHaveLength(4);
  });

  test("NaN and infinities survive as the protocol carries them", async () => {
    const { run_id } = (await newRun(await newExperiment())).info;
    const body = `{"run_id": "${run_id}", "metrics": [{"key": "a", "value": NaN, "timestamp": 1}, {"key": "b", "value": -Infinity, "timestamp": 1}, {"key": "c", "value": "NaN", "timestamp": 1}]}`;

    await tracking.raw("POST", "/api/2.0/mlflow/runs/log-batch", {
      body,
      headers: { "content-type": "application/json" },
    });

    expect((await getRun(run_id)).data.metrics?.map(({ value }) => value)).toEqual(["NaN", -Number.MAX_VALUE, "NaN"]);
  });

  test("parameters never change; a batch that tries is refused whole", async () => {
    const { run_id } = (await newRun(await newExperiment())).info;
    await tracking.send("runs/log-parameter", { run_id, key: "lr", value: "1" });

    expect((await tracking.send("runs/log-parameter", { run_id, key: "lr", value: "1" })).status).toBe(200);
    const batch = await tracking.send("runs/log-batch", {
      run_id,
      params: [{ key: "lr", value: "it's" }],
      metrics: [{ key: "m", value: 1, timestamp: 1 }],
    });

    expect(batch.json["message"]).toContain(`[{'key': 'lr', 'old_value': '1', 'new_value': "it's"}]`);
    expect((await getRun(run_id)).data.metrics).toBeUndefined();
  });

  test("bounds batches by counts, and cuts long values", async () => {
    const { run_id } = (await newRun(await newExperiment())).info;
    const metrics = Array.from({ length: 1001 }, (_, i) => ({ key: `m${i}`, value: 1, timestamp: 1 }));

    expect((await tracking.send("runs/log-batch", { run_id, metrics })).json["message"]).toContain(
      "at most 1000 metrics. Got 1001",
    );
    expect((await tracking.send("runs/log-batch", { run_id, metrics: metrics.slice(1) })).status).toBe(200);
    expect(
      (
        await tracking.send("runs/log-batch", {
          run_id,
          params: metrics.slice(0, 101).map(({ key }) => ({ key, value: "" })),
        })
      ).json["message"],
    ).toContain("at most 100 params");
    await tracking.send("runs/log-batch", { run_id, tags: [{ key: "t", value: "x".repeat(9000) }] });
    expect((await getRun(run_id)).data.tags?.find(({ key }) => key === "t")?.value).toHaveLength(8000);
  });

  test("pages go through everything once", async () => {
    const experiment = await newExperiment();
    for (let i = 0; i < 7; i++) await newRun(experiment, { run_name: `r${i}`, start_time: i % 3 });
    const seen: string[] = [];

    for (let token: string | undefined = ""; token !== undefined; ) {
      const { json } = await tracking.send("runs/search", {
        experiment_ids: [experiment],
        max_results: 3,
        page_token: token,
      });
      seen.push(...(json["runs"] as Run[]).map((run) => run.info.run_name));
      token = json["next_page_token"] as string | undefined;
    }

    expect(seen).toHaveLength(7);
    expect(new Set(seen).size).toBe(7);
  });

  test("what was acknowledged is there after a restart", async () => {
    const other = await startTracking();
    const run = (await other.send("runs/create", { experiment_id: "0", run_name: "kept" })).json["run"] as Run;
    await other.send("runs/log-metric", { run_id: run.info.run_id, key: "m", value: 0.5, timestamp: 1 });

    const again = await other.restart();

    const found = await again.send("runs/search", { experiment_ids: ["0"], filter: "metrics.m > 0.4" });
    expect((found.json["runs"] as Run[])[0]?.info.run_name).toBe("kept");
    await again.close();
  });
});

describe("artifacts", () => {
  const proxy = "/api/2.0/mlflow-artifacts/artifacts";

  test("what is put is listed and given back; blobs are named by the path below the artifact root", async () => {
    const run = await newRun(await newExperiment());
    const below = `${run.info.experiment_id}/${run.info.run_id}/artifacts`;

    await tracking.raw("PUT", `${proxy}/${below}/model/model.onnx`, { body: "weights" });

    expect(run.info.artifact_uri).toBe(`mlflow-artifacts:/${below}`);
    expect((await tracking.raw("GET", `${proxy}/${below}/model/model.onnx`)).text).toBe("weights");
    expect((await tracking.get("artifacts/list", { run_id: run.info.run_id, path: "model" })).json["files"]).toEqual([
      { path: "model/model.onnx", is_dir: false, file_size: 7 },
    ]);
    expect(await tracking.blobs.head(`${below}/model/model.onnx`)).toMatchObject({ sizeBytes: 7 });
    const folder = await tracking.raw("GET", `${proxy}/${below}/model`);
    expect([folder.status, folder.json["detail"]]).toEqual([
      400,
      `Artifact path refers to a directory, not a file: '${below}/model'`,
    ]);
    await tracking.raw("DELETE", `${proxy}/${below}/model`);
    expect((await tracking.raw("GET", `${proxy}/${below}/model/model.onnx`)).status).toBe(404);
  });

  test.each([
    "../x",
    "a/../../x",
    "%2e%2e/x",
    "%252e%252e%252fx",
    "/etc/passwd",
    "%2Fetc",
    "C:/x",
    "file:///etc/passwd",
    "a%23b",
  ])("refuses the path %s in every call", async (bad) => {
    for (const [method, target] of [
      ["GET", `${proxy}/${bad}`],
      ["PUT", `${proxy}/${bad}`],
      ["DELETE", `${proxy}/${bad}`],
      ["GET", `${proxy}?path=${bad}`],
    ] as const) {
      const answer = await tracking.raw(method, target, method === "PUT" ? { body: "x" } : {});
      expect([method, answer.status, answer.json["message"]]).toEqual([method, 400, "Invalid path"]);
    }
  });

  test("a part of an artifact can be asked for", async () => {
    await tracking.raw("PUT", `${proxy}/r/x.bin`, { body: "0123456789" });
    const get = (range: string) => tracking.raw("GET", `${proxy}/r/x.bin`, { headers: { range } });

    const part = await get("bytes=3-5");
    expect([part.status, part.text, part.headers["content-range"]]).toEqual([206, "345", "bytes 3-5/10"]);
    expect((await get("bytes=50-")).status).toBe(416);
    expect((await get("bytes=1-2,4-5")).text).toBe("0123456789");
  });

  test("downloads never run in a browser and carry their name safely", async () => {
    await tracking.raw("PUT", `${proxy}/d/%C3%A9%22%0d%0aX: y.html`, { body: "<script>" });

    const { headers } = await tracking.raw("GET", `${proxy}/d/%C3%A9%22%0d%0aX: y.html`);

    expect(headers["x-content-type-options"]).toBe("nosniff");
    expect(headers["content-disposition"]).toBe(
      `attachment; filename="e\\"X: y.html"; filename*=UTF-8''%C3%A9%22%0D%0AX%3A%20y.html`,
    );
  });

  test("says where artifacts are that lie elsewhere", async () => {
    const { json } = await tracking.send("experiments/create", {
      name: newName(),
      artifact_location: "s3://elsewhere/x",
    });
    const run = await newRun(json["experiment_id"] as string);

    const answer = await tracking.get("artifacts/list", { run_id: run.info.run_id });

    expect([answer.status, answer.json["message"]]).toEqual([
      400,
      expect.stringContaining("which this server does not keep"),
    ]);
  });
});

describe("registry", () => {
  test("versions count up and are never given twice; aliases go with them", async () => {
    const name = newName();
    await tracking.send("registered-models/create", { name });
    const create = () => tracking.send("model-versions/create", { name, source: "s3://b/m" });
    await create();
    await create();
    await tracking.send("registered-models/alias", { name, alias: "best", version: "2" });
    await tracking.send("model-versions/delete", { name, version: "2" }, "DELETE");

    expect((await create()).json["model_version"]).toMatchObject({ version: "3" });
    expect((await tracking.get("registered-models/alias", { name, alias: "best" })).status).toBe(400);
    expect(
      (await tracking.get("registered-models/alias", { name, alias: "latest" })).json["model_version"],
    ).toMatchObject({ version: "3" });
  });

  test("a rename takes versions, aliases and tags along", async () => {
    const [name, renamed] = [newName(), newName()];
    await tracking.send("registered-models/create", { name, tags: [{ key: "k", value: "v" }] });
    await tracking.send("model-versions/create", { name, source: "s3://b/m", tags: [{ key: "q", value: "1" }] });
    await tracking.send("registered-models/alias", { name, alias: "best", version: "1" });

    await tracking.send("registered-models/rename", { name, new_name: renamed });

    expect((await tracking.get("registered-models/get", { name: renamed })).json["registered_model"]).toMatchObject({
      tags: [{ key: "k", value: "v" }],
      aliases: [{ alias: "best", version: "1" }],
    });
    expect(
      (await tracking.get("model-versions/get", { name: renamed, version: "1" })).json["model_version"],
    ).toMatchObject({ name: renamed, aliases: ["best"] });
    expect((await tracking.get("registered-models/get", { name })).status).toBe(404);
  });

  test("the download address of a version follows what its source refers to", async () => {
    const name = newName();
    const run = await newRun(await newExperiment());
    await tracking.send("registered-models/create", { name });
    await tracking.send("model-versions/create", {
      name,
      run_id: run.info.run_id,
      source: `runs:/${run.info.run_id}/model`,
    });
    await tracking.send("model-versions/create", { name, source: `models:/${name}/1` });

    const uri = await tracking.get("model-versions/get-download-uri", { name, version: "2" });

    expect(uri.json).toEqual({ artifact_uri: `${run.info.artifact_uri}/model` });
    const foreign = await tracking.send("model-versions/create", { name, source: `runs:/${run.info.run_id}/model` });
    expect(foreign.json["message"]).toContain("The run_id request parameter must identify the resource");
  });

  test("a version comes only from the run or the logged model that it names", async () => {
    const name = newName();
    const run = await newRun(await newExperiment());
    const logged = await tracking.send("logged-models", {
      experiment_id: run.info.experiment_id,
      name: "net",
      source_run_id: run.info.run_id,
    });
    const modelId = (logged.json["model"] as { info: { model_id: string } }).info.model_id;
    await tracking.send("registered-models/create", { name });
    const create = async (body: object) => (await tracking.send("model-versions/create", { name, ...body })).json;
    const source = `${run.info.artifact_uri}/model`;

    expect((await create({ source }))["message"]).toContain("The run_id request parameter must identify");
    expect((await create({ source, run_id: "f".repeat(32) }))["message"]).toContain("The run_id request parameter");
    expect((await create({ source, run_id: run.info.run_id }))["model_version"]).toMatchObject({ version: "1" });
    expect((await create({ source: `models:/${modelId}` }))["message"]).toContain("The model_id request parameter");
    expect((await create({ source: `models:/${modelId}`, model_id: modelId }))["model_version"]).toMatchObject({
      run_id: run.info.run_id,
    });
    expect((await create({ source, model_id: "m-none" }))["error_code"]).toBe("RESOURCE_DOES_NOT_EXIST");
    const { json } = await tracking.get(`logged-models/${modelId}`);
    expect((json["model"] as { info: { tags: unknown } }).info.tags).toEqual([
      { key: "mlflow.modelVersions", value: `[{"name": "${name}", "version": 2}]` },
    ]);
  });

  test.each([
    "/etc/passwd",
    "file:///etc",
    "relative/path",
    "https://x/y",
    "s3://b/../c",
    "mlflow-artifacts:/%2e%2e/x",
  ])("refuses the source %s", async (source) => {
    const name = newName();
    await tracking.send("registered-models/create", { name });

    expect((await tracking.send("model-versions/create", { name, source })).json["error_code"]).toBe(
      "INVALID_PARAMETER_VALUE",
    );
  });

  test("stages change, and archive the others when told to", async () => {
    const name = newName();
    await tracking.send("registered-models/create", { name });
    for (let i = 0; i < 2; i++) await tracking.send("model-versions/create", { name, source: "s3://b/m" });
    const transition = (version: string, stage: string, archive: boolean) =>
      tracking.send("model-versions/transition-stage", { name, version, stage, archive_existing_versions: archive });
    await transition("1", "production", false);
    await transition("2", "Production", true);

    const latest = await tracking.send("registered-models/get-latest-versions", { name });

    expect(
      (latest.json["model_versions"] as { version: string; current_stage: string }[])
        .map((v) => [v.version, v.current_stage])
        .sort(([a = ""], [b = ""]) => a.localeCompare(b)),
    ).toEqual([
      ["1", "Archived"],
      ["2", "Production"],
    ]);
    expect((await transition("1", "Live", false)).json["error_code"]).toBe("INVALID_PARAMETER_VALUE");
  });
});

test("writes at once lose nothing and mix nothing up", async () => {
  const { run_id } = (await newRun(await newExperiment())).info;

  const answers = await Promise.all([
    ...Array.from({ length: 50 }, (_, i) =>
      tracking.send("runs/log-metric", { run_id, key: "m", value: i, timestamp: i, step: i }),
    ),
    ...Array.from({ length: 10 }, (_, i) =>
      tracking.send("runs/log-parameter", { run_id, key: "p", value: String(i) }),
    ),
    ...Array.from({ length: 10 }, () => tracking.send("experiments/create", { name: "one of ten" })),
  ]);

  expect(answers.slice(0, 50).every(({ status }) => status === 200)).toBe(true);
  expect(answers.slice(50, 60).filter(({ status }) => status === 200)).toHaveLength(1);
  expect(answers.slice(60).filter(({ status }) => status === 200)).toHaveLength(1);
  expect((await getRun(run_id)).data.metrics?.[0]?.value).toBe(49);
});

test("every route names a permission, but health and version", () => {
  const open = tracking.routes.filter((route) => route.permission === undefined).map((route) => route.path);

  expect(open).toEqual(["/health", "/version"]);
});
