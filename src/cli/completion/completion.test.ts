import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { ConfigMapKind } from "../../kernel/kinds/index.js";
import { startTestCluster } from "../../testing/index.js";
import { createProgram } from "../main.js";
import type { Terminal } from "../output/terminal.js";
import { complete } from "./completion.js";

const silent: Terminal = {
  out: () => undefined,
  err: () => undefined,
  readStdin: async () => "",
  live: false,
  columns: 100,
  env: {},
};
const program = createProgram(silent, () => undefined);
const completed = (...words: string[]) => complete(program, words);

/** A kubeconfig in a folder that goes with the test. */
function kubeconfigFor(server: string, caPem: string, token: string): string {
  const folder = mkdtempSync(join(tmpdir(), "argosy-completion-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "kubeconfig");
  const cluster = { server, "certificate-authority-data": Buffer.from(caPem).toString("base64") };
  writeFileSync(
    file,
    JSON.stringify({
      "current-context": "hub",
      clusters: [{ name: "hub", cluster }],
      users: [{ name: "admin", user: { token } }],
      contexts: ["hub", "cloud"].map((name) => ({ name, context: { cluster: "hub", user: "admin" } })),
    }),
  );
  return file;
}

async function startCluster(): Promise<string> {
  const cluster = await startTestCluster();
  onTestFinished(() => cluster.close());
  const { url } = await cluster.server.listen({ host: "127.0.0.1", port: 0 });
  for (const name of ["blue", "green"]) {
    const options = { fieldManager: "test", namespace: "default" };
    await cluster.client.resource(ConfigMapKind).apply({ metadata: { name, namespace: "default" } }, options);
  }
  return kubeconfigFor(url, cluster.server.caPem, cluster.server.adminToken);
}

test("commands, subcommands, options and their values", async () => {
  expect(await completed("desc")).toEqual(["describe"]);
  expect(await completed("agent", "")).toEqual(["crds", "credentials", "deployment", "rbac"]);
  expect(await completed("agent", "rbac", "--node")).toEqual(["--node-name"]);
  expect(await completed("agent", "--level", "c")).toEqual(["cluster", "continuum"]);
  expect(await completed("get", "pods", "-o", "")).toEqual(["json", "name", "table", "wide", "yaml"]);
  expect(await completed("get", "--output=y")).toEqual(["--output=yaml"]);
  expect(await completed("get", "--output", "=", "y")).toEqual(["--output=yaml"]);
  expect(await completed("up", "--without", "nodes,s")).toEqual(["nodes,scheduler"]);
  expect(await completed("completion", "")).toEqual(["bash", "fish", "zsh"]);
});

test("files are the shell's to complete", async () => {
  expect(await completed("apply", "-f", "man")).toEqual([":files"]);
  expect(await completed("up", "--data", "")).toEqual([":files"]);
  expect(await completed("get", "--kubeconfig=x")).toEqual([":files"]);
});

test("types, names, namespaces and contexts are the cluster's", async () => {
  const on = ["--kubeconfig", await startCluster()];

  expect(await completed("get", ...on, "configm")).toEqual(["configmaps"]);
  expect(await completed("get", ...on, "pods,deploy")).toEqual(["pods,deployments"]);
  expect(await completed("describe", ...on, "cm")).toEqual(["cm"]);
  expect(await completed("get", ...on, "tokenrev")).toEqual([]);
  expect(await completed("get", ...on, "cm", "")).toEqual(["blue", "green"]);
  expect(await completed("delete", ...on, "configmaps", "blue", "")).toEqual(["green"]);
  expect(await completed("delete", ...on, "cm/b")).toEqual(["cm/blue"]);
  expect(await completed("delete", ...on, "cm/blue", "cm/")).toEqual(["cm/green"]);
  expect(await completed("explain", ...on, "config")).toEqual(["configmaps/"]);
  expect(await completed("logs", ...on, "job")).toEqual(["job/"]);
  expect(await completed("get", ...on, "cm", "-n", "kube-s")).toEqual(["kube-system"]);
  expect(await completed("get", ...on, "cm", "-n", "kube-system", "")).not.toContain("blue");
  expect(await completed("get", ...on, "--context", "")).toEqual(["cloud", "hub"]);
});

test("without a cluster there are no names, and nothing is said", async () => {
  const nobody = ["--kubeconfig", kubeconfigFor("https://127.0.0.1:1", "", "t")];

  expect(await completed("get", ...nobody, "po")).toEqual([]);
  expect(await completed("get", "--kubeconfig", "/nonexistent", "pods", "")).toEqual([]);
  expect(await completed("get", "--kubeconfig", "/nonexistent", "--context", "")).toEqual([]);
  expect(await completed("get", ...nobody, "--context", "c")).toEqual(["cloud"]);
});

test("a server that takes connections and says nothing is not waited for", async () => {
  const server = createServer(() => undefined);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;

  expect(await completed("get", "--kubeconfig", kubeconfigFor(`https://127.0.0.1:${port}`, "", "t"), "po")).toEqual([]);
});
