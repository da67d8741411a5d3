import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { ConfigMapKind, defineKind } from "../../kernel/kinds/index.js";
import { s } from "../../kernel/schema/index.js";
import { startTestCluster, type TestCluster } from "../../testing/index.js";
import { testTerminal } from "../output/terminal.fixture.js";
import type { Session } from "../session.js";
import { type ApplyOptions, applyManifests } from "./apply.js";
import { deleteResources } from "./delete.js";
import { describeResources } from "./describe.js";

const WidgetKind = defineKind({
  group: "example.dev",
  version: "v1",
  kind: "Widget",
  plural: "widgets",
  description: "A thing for tests.",
  spec: s.object({
    replicas: s.integer({ min: 0, max: 3 }),
    parts: s.array(s.object({ colour: s.string() })).optional(),
  }),
});

const folder = mkdtempSync(join(tmpdir(), "argosy-apply-"));
const file = join(folder, "m.yaml");
let cluster: TestCluster;
let session: Session;

beforeAll(async () => {
  cluster = await startTestCluster({ kinds: [WidgetKind] });
  session = { client: cluster.client, context: "test", namespace: "default" };
});
afterAll(async () => {
  await cluster.close();
  rmSync(folder, { recursive: true });
});
beforeEach(() => rmSync(file, { force: true }));

async function apply(text: string, options: Partial<ApplyOptions> = {}): Promise<{ out: string; err: string }> {
  writeFileSync(file, text);
  const terminal = testTerminal({ stdin: text });
  await applyManifests(session, { files: [file], ...options }, terminal);
  return { out: terminal.stdout(), err: terminal.stderr() };
}

const configMap = (name: string, value: string): string =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}}\ndata: {a: "${value}"}\n`;

test("says of each object whether it was made, changed or as it is", async () => {
  const both = `${configMap("one", "1")}---\n${configMap("two", "1")}`;

  expect((await apply(both)).out).toBe("configmap/one created\nconfigmap/two created\n");
  expect((await apply(both)).out).toBe("configmap/one unchanged\nconfigmap/two unchanged\n");
  expect((await apply(configMap("two", "2"), { files: ["-"] })).out).toBe("configmap/two configured\n");
});

test("a dry run changes nothing and says so", async () => {
  expect((await apply(configMap("dry", "1"), { dryRun: true })).out).toBe("configmap/dry created (dry run)\n");
  await expect(cluster.client.resource(ConfigMapKind).get("dry", { namespace: "default" })).rejects.toMatchObject({
    httpCode: 404,
  });
});

test("an unknown field is named with its line and what was probably meant", async () => {
  const widget = "apiVersion: example.dev/v1\nkind: Widget\nmetadata:\n  name: w\nspec:\n  replicas: 1\n";
  const pod = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - name: a\n    imagee: b\n";

  await expect(apply(`${widget}  replcas: 2\n`)).rejects.toThrow(
    `${file}:7: unknown field "spec.replcas"; did you mean "replicas"?`,
  );
  await expect(apply(`${widget}  parts:\n  - colour: red\n    color: blue\n`)).rejects.toThrow(
    /m\.yaml:9: unknown field "spec\.parts\[0\]\.color"; did you mean "colour"\?/,
  );
  await expect(apply(pod)).rejects.toThrow(/m\.yaml:8: unknown field ".*imagee"; did you mean "image"\?/);
});

test("a refused value is named with its line, one line for each", async () => {
  const refusal = async (text: string): Promise<string[]> => {
    const error: unknown = await apply(text).catch((failure: unknown) => failure);
    return error instanceof Error ? error.message.split("\n") : [];
  };
  const head = "apiVersion: example.dev/v1\nkind: Widget\nmetadata:\n  name: w\nspec:\n";

  expect(await refusal(`${head}  replicas: 9\n  parts:\n  - {}\n`)).toEqual([
    expect.stringMatching(/m\.yaml:6: spec\.replicas: Invalid value: 9/),
    expect.stringMatching(/m\.yaml:8: spec\.parts\[0\]\.colour: Required value/),
  ]);
  expect(await refusal(`${head}  replicas: many\n`)).toEqual([
    expect.stringMatching(/m\.yaml:6: spec\.replicas: expected numeric .*, got string$/),
  ]);
  expect(await refusal(`${head}  replicas: 1\n  parts:\n  - colour: 1\n`)).toEqual([
    expect.stringMatching(/m\.yaml:8: spec\.parts\[0\]\.colour: expected string, got 1$/),
  ]);
});

test("what came before a refusal stays, what comes after is not tried", async () => {
  const text = `${configMap("before", "1")}---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {}\n---\n${configMap("after", "1")}`;

  await expect(apply(text)).rejects.toThrow(/m\.yaml:9: spec\.containers: /);

  const { items } = await cluster.client.resource(ConfigMapKind).list({ namespace: "default" });
  const names = items.map(({ metadata }) => metadata.name);
  expect(names).toContain("before");
  expect(names).not.toContain("after");
});

test.each([
  ["apiVersion: v1\nkind: Podd\n", "m.yaml:2: this cluster has no kind Podd in v1; did you mean Pod?"],
  ["apiVersion: extensions/v1beta1\nkind: Deployment\n", "Deployment is served as apps/v1"],
  ["apiVersion: apps/v2\nkind: Deployment\n", /could not find|not found|no version/i],
])("a kind that is not served (%j) is refused with one that is", async (text, message) => {
  await expect(apply(`${text}metadata: {name: a}\n`)).rejects.toThrow(message);
});

test("a field that another writer owns is a conflict, until it is forced", async () => {
  await cluster.client
    .resource(ConfigMapKind)
    .apply(
      { metadata: { name: "owned", namespace: "default" }, data: { a: "theirs" } },
      { fieldManager: "somebody", namespace: "default" },
    );

  await expect(apply(configMap("owned", "mine"))).rejects.toThrow(
    /m\.yaml:4: data\.a: conflict with "somebody"; --force takes the field over/,
  );
  expect((await apply(configMap("owned", "mine"), { force: true })).out).toBe("configmap/owned configured\n");
});

test("what was applied is described, and deleted by the same file, last first", async () => {
  await apply(`${configMap("d1", "1")}---\n${configMap("d2", "1")}`);
  const described = testTerminal();
  await describeResources(session, ["cm/d1"], {}, described);
  const deleted = testTerminal();
  await deleteResources(session, [], { files: [file], wait: true, timeoutSeconds: 5 }, deleted);

  expect(described.stdout()).toMatch(
    /^Name: d1\nNamespace: default\nKind: ConfigMap \(v1\)\nData:\n {2}[Aa]: 1\nEvents: <none>\n$/,
  );
  expect(deleted.stdout()).toBe("configmap/d2 deleted\nconfigmap/d1 deleted\n");
});

test("deleting a type without names needs --all; one that is gone may be ignored", async () => {
  const options = { files: [], wait: false, timeoutSeconds: 5 };
  const terminal = testTerminal();

  await expect(deleteResources(session, ["widgets"], options, terminal)).rejects.toThrow(
    "say which widgets to delete, or --all",
  );
  await expect(deleteResources(session, ["cm/gone"], options, terminal)).rejects.toMatchObject({ httpCode: 404 });
  await deleteResources(session, ["cm/gone"], { ...options, ignoreNotFound: true }, terminal);
  expect(terminal.stdout()).toBe("");
});
