import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { request } from "undici";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { argosy, type Finished, hasProgram, runProgram } from "./support/argosy.js";
import { eventually } from "./support/polling.js";

// One fleet for all that a user does with it; the tests run in order.
const data = mkdtempSync(join(tmpdir(), "argosy-main-job-"));
const kubeconfig = join(data, "kubeconfig");
let first: Finished;

interface Summary {
  readonly model: {
    readonly version: string;
    readonly runId: string;
    readonly accuracy: number;
    readonly resumed: boolean;
  };
  readonly requests: {
    readonly sent: number;
    readonly failed: number;
    readonly accuracy: number;
    readonly byMember: Record<string, number>;
  };
  readonly url: string;
}

interface InferenceServiceStatus {
  readonly status?: {
    readonly url: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

const summaryOf = (finished: Finished): Summary => JSON.parse(finished.stdout) as Summary;
const onFleet = (...words: string[]): Promise<Finished> => argosy(...words, "--data", data);

beforeAll(async () => {
  first = await argosy("start", "--exit", "-o", "json", "--data", data);
}, 240_000);

afterAll(async () => {
  await onFleet("down");
  await runProgram("rm", ["-rf", data]);
}, 60_000);

describe("the main job", () => {
  test("trains, delivers, serves and answers", () => {
    expect(first.stderr).toContain("✔ send 1000 held-out rows");
    expect(first.code, first.stderr).toBe(0);
    const { model, requests } = summaryOf(first);
    expect(model.accuracy).toBeGreaterThanOrEqual(0.96);
    expect(model.resumed).toBe(false);
    expect(requests).toMatchObject({ sent: 1000, failed: 0, byMember: { cloud: 300, edge: 700 } });
    expect(requests.accuracy).toBeGreaterThanOrEqual(0.96);
  });

  test("resumes on the same data: same run, same version, nothing trained again", async () => {
    const second = await argosy("start", "--exit", "-o", "json", "--data", data);

    expect(second.code, second.stderr).toBe(0);
    const { model } = summaryOf(first);
    expect(summaryOf(second).model).toEqual({ ...model, resumed: true });
  }, 120_000);
});

describe("a fleet in the background", () => {
  beforeAll(async () => {
    const started = await onFleet("up", "--detach");
    expect(started.code, started.stderr).toBe(0);
  }, 120_000);

  test("status names every address, and each answers", async () => {
    const status = await onFleet("status", "-o", "json");

    expect(status.code, status.stderr + status.stdout).toBe(0);
    const document = JSON.parse(status.stdout) as {
      running: boolean;
      ingress: string;
      tracking: string;
      clusters: { name: string; ready: boolean }[];
    };
    expect(document.running).toBe(true);
    expect(document.clusters.map(({ name, ready }) => ({ name, ready }))).toEqual(
      ["hub", "cloud", "edge", "far-edge"].map((name) => ({ name, ready: true })),
    );
    expect(new URL(document.ingress).hostname).toBe("127.0.0.1");
    expect(new URL(document.tracking).protocol).toBe("https:");
  });

  test("get prints the server's table, documents and names", async () => {
    const table = await onFleet("get", "hmls", "-A");
    const yaml = await onFleet("get", "hmls/digits", "-n", "digits", "-o", "yaml");
    const names = await onFleet("get", "nodes", "-o", "name", "--context", "cloud");

    expect(table.stdout).toMatch(/^NAMESPACE\s+NAME\s/);
    expect(table.stdout).toMatch(/\ndigits\s+digits\s/);
    expect(yaml.stdout).toContain("type: FullyApplied");
    expect(yaml.stdout).not.toContain("managedFields");
    expect(names.stdout.trim().split("\n")).toHaveLength(2);
    expect(table.stderr).toBe("");
  });

  test("describe, logs and explain tell what happened", async () => {
    const described = await onFleet("describe", "hmls/digits", "-n", "digits");
    const logs = await onFleet("logs", "job/train-digits", "-n", "digits", "--context", "cloud");
    const explained = await onFleet("explain", "headingress/digits", "-n", "digits");

    expect(described.stdout).toContain("All manifests have been successfully applied");
    expect(logs.stdout).toContain("accuracy");
    expect(explained.stdout).toMatch(/rule: /);
    expect(explained.code).toBe(0);
  });

  test("the example's InferenceService serves the model by its name in the registry", async () => {
    const applied = await onFleet("apply", "-f", "examples/inference-service/digits.yaml", "--context", "cloud");
    expect(applied.code, applied.stderr).toBe(0);
    const url = await eventually(
      "it is Ready",
      async () => {
        const got = await onFleet("get", "isvc/digits-isvc", "-n", "digits", "--context", "cloud", "-o", "json");
        const { status } = JSON.parse(got.stdout) as InferenceServiceStatus;
        const isReady = status?.conditions?.some((each) => each.type === "Ready" && each.status === "True");
        return isReady === true ? status?.url : undefined;
      },
      { boundMs: 60_000 },
    );
    const { hostname, port } = new URL(url);
    const model = await request(`http://127.0.0.1:${port}/v2/models/digits-isvc`, { headers: { host: hostname } });
    expect(await model.body.json()).toMatchObject({
      name: "digits-isvc",
      inputs: [{ name: "input", shape: [-1, 64] }],
    });
    await onFleet("delete", "isvc/digits-isvc", "-n", "digits", "--context", "cloud");
  }, 90_000);

  test("kubectl sees the same", async ({ skip }) => {
    if (!(await hasProgram("kubectl"))) {
      skip("skipped, because kubectl is not on the PATH");
    }
    const hub = (...words: string[]): Promise<Finished> =>
      runProgram("kubectl", ["--kubeconfig", kubeconfig, "--context", "hub", ...words]);

    const got = await hub("get", "hmls", "-A");
    const explained = await hub("explain", "hmls.spec.workloads");
    const nodes = await runProgram("kubectl", ["--kubeconfig", kubeconfig, "--context", "cloud", "get", "nodes"]);

    expect(got.stdout).toMatch(/digits\s+digits/);
    expect(explained.stdout).toContain("clusters");
    expect(nodes.stdout.match(/ Ready /g)).toHaveLength(2);
  });

  test("a bad manifest is answered with file, line, field and a suggestion; nothing changes", async () => {
    const file = join(data, "bad.yaml");
    writeFileSync(
      file,
      [
        "apiVersion: apps/v1",
        "kind: Deployment",
        "metadata: {name: bad}",
        "spec:",
        "  replcas: 2",
        "  selector: {matchLabels: {a: b}}",
        "  template:",
        "    metadata: {labels: {a: b}}",
        "    spec: {containers: [{name: c, image: node}]}",
        "",
      ].join("\n"),
    );
    const unknownField = await onFleet("apply", "-f", file, "--context", "cloud");
    writeFileSync(file, "apiVersion: v1\nkind: ConfgMap\nmetadata: {name: a}\n");
    const unknownKind = await onFleet("apply", "-f", file);
    writeFileSync(file, "apiVersion: v1\nkind: ConfigMap\n  metadata: {name: a}\n");
    const noYaml = await onFleet("apply", "-f", file);
    const unknownType = await onFleet("get", "depoyments");

    expect(unknownField.stderr).toMatch(/bad\.yaml:5: unknown field "spec\.replcas"; did you mean "replicas"\?/);
    expect(unknownField.code).toBe(5);
    expect(unknownKind.stderr).toMatch(
      /bad\.yaml:2: this cluster has no kind ConfgMap in v1; did you mean ConfigMap\?/,
    );
    expect(unknownKind.code).toBe(2);
    expect(noYaml.stderr).toMatch(/bad\.yaml:[23]: not valid YAML/);
    expect(unknownType.stderr).toContain('did you mean "deployments"?');
    expect((await onFleet("get", "deployment", "bad", "--context", "cloud")).code).toBe(4);
  });

  test("a second start on the same directory is refused with the process that holds it", async () => {
    const refused = await onFleet("up");

    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/is in use by Argosy, process \d+: stop it with/);
  });

  test("down stops it, and says so when asked again", async () => {
    const stopped = await onFleet("down");
    const again = await onFleet("down");

    expect(stopped.stderr).toContain("stopped");
    expect(again.stderr).toContain("nothing runs");
    expect((await onFleet("status")).code).toBe(3);
  }, 90_000);
});
