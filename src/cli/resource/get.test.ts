import { afterAll, beforeAll, expect, test } from "vitest";
import { ConfigMapKind, NamespaceKind, NodeKind } from "../../kernel/kinds/index.js";
import { startTestCluster, type TestCluster } from "../../testing/index.js";
import { testTerminal } from "../output/terminal.fixture.js";
import { type GetOptions, getResources } from "./get.js";

let cluster: TestCluster;

beforeAll(async () => {
  cluster = await startTestCluster();
  await cluster.client.resource(NamespaceKind).apply({ metadata: { name: "team" } }, { fieldManager: "test" });
  for (const [namespace, name] of [
    ["default", "first"],
    ["default", "second"],
    ["team", "third"],
  ] as const) {
    await cluster.client
      .resource(ConfigMapKind)
      .apply(
        { metadata: { name, namespace, labels: { name } }, data: { a: "1" } },
        { fieldManager: "test", namespace },
      );
  }
  await cluster.client.resource(NodeKind).apply({ metadata: { name: "edge" } }, { fieldManager: "test" });
});
afterAll(() => cluster.close());

async function get(words: string, options: Partial<GetOptions> = {}): Promise<{ out: string; err: string }> {
  const terminal = testTerminal();
  const session = { client: cluster.client, context: "test", namespace: "default" };
  await getResources(session, words.split(" "), { output: "table", ...options }, terminal);
  return { out: terminal.stdout(), err: terminal.stderr() };
}

test("prints the server's columns, the important ones; all with wide", async () => {
  const { out, err } = await get("cm first second");
  const narrow = await get("nodes");
  const wide = await get("nodes", { output: "wide" });

  expect(out).toMatch(/^NAME {5}DATA {3}AGE\nfirst {4}1 {6}\d+s\nsecond {3}1 {6}\d+s\n$/);
  expect(err).toBe("");
  expect(narrow.out).toMatch(/^NAME {3}STATUS +ROLES +AGE +VERSION\nedge {3}/);
  expect(wide.out).toMatch(/ VERSION +INTERNAL-IP +/);
});

test("over all namespaces each row says which; types stand apart", async () => {
  const { out } = await get("cm,nodes", { allNamespaces: true, selector: "name in (first,third)" });
  const all = await get("configmaps,nodes", { allNamespaces: true });

  expect(out.split("\n").map((line) => line.split(/ +/).slice(0, 2).join(" "))).toEqual([
    "NAMESPACE NAME",
    "default first",
    "team third",
    "",
  ]);
  expect(all.out).toMatch(/^NAMESPACE .*\n(.*\n)+\nNAME {3}STATUS/);
});

test("nothing found is said to people, where they looked; standard output stays empty", async () => {
  expect(await get("secrets", { namespace: "team" })).toEqual({
    out: "",
    err: "No resources found in team namespace.\n",
  });
  expect(await get("secrets", { allNamespaces: true })).toEqual({ out: "", err: "No resources found\n" });
  await expect(get("cm/none")).rejects.toMatchObject({ httpCode: 404 });
});

test("one name is one document, several are a list whose items say what they are", async () => {
  const one = JSON.parse((await get("cm/first", { output: "json" })).out);
  const list = JSON.parse((await get("cm", { output: "json", selector: "name" })).out);
  const named = await get("cm,node", { output: "name" });

  expect(one).toMatchObject({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "first" }, data: { a: "1" } });
  expect(one.metadata.managedFields).toBeUndefined();
  expect(list).toMatchObject({
    apiVersion: "v1",
    kind: "List",
    items: [
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "first" } },
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "second" } },
    ],
  });
  expect(named.out.split("\n")).toEqual(expect.arrayContaining(["configmap/first", "configmap/second", "node/edge"]));
});

test("a name in all namespaces is nobody's", async () => {
  await expect(get("cm first", { allNamespaces: true })).rejects.toThrow("say which namespace with -n");
});

test("field selectors are the server's", async () => {
  expect((await get("cm", { output: "name", fieldSelector: "metadata.name=second" })).out).toBe("configmap/second\n");
});
