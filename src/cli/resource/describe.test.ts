import { expect, onTestFinished, test } from "vitest";
import { ConfigMapKind, SecretKind } from "../../kernel/kinds/index.js";
import { startTestCluster } from "../../testing/index.js";
import type { Terminal } from "../output/terminal.js";
import { describeResources } from "./describe.js";

const namespace = "default";

test("an object is described without what kubectl applied last, a Secret without its content", async () => {
  const cluster = await startTestCluster();
  onTestFinished(() => cluster.close());
  const annotations = { "kubectl.kubernetes.io/last-applied-configuration": '{"old":1}', team: "blue" };
  const options = { fieldManager: "test", namespace };
  await cluster.client
    .resource(ConfigMapKind)
    .apply({ metadata: { name: "web", namespace, annotations }, data: { size: "3" } }, options);
  await cluster.client
    .resource(SecretKind)
    .apply({ metadata: { name: "web", namespace }, data: { key: "aGlkZGVu" } }, options);
  let out = "";
  const terminal: Terminal = {
    out: (text) => {
      out += text;
    },
    err: () => undefined,
    readStdin: async () => "",
    live: false,
    columns: 100,
    env: {},
  };

  await describeResources(
    { client: cluster.client, context: "test", namespace },
    ["cm/web", "secret/web"],
    {},
    terminal,
  );

  expect(out).toContain("Annotations: team=blue\n");
  expect(out).toContain("size: 3");
  expect(out).not.toContain("last-applied");
  expect(out).toContain("key: 6 bytes");
  expect(out).not.toContain("aGlkZGVu");
});
