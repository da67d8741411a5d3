import { afterAll, beforeAll, expect, test } from "vitest";
import { DeploymentKind, PodKind } from "../../kernel/kinds/index.js";
import { startTestCluster, type TestCluster } from "../../testing/index.js";
import { testTerminal } from "../output/terminal.fixture.js";
import { streamLogs } from "./logs.js";

let cluster: TestCluster;

beforeAll(async () => {
  cluster = await startTestCluster();
  const namespace = "default";
  const options = { fieldManager: "test", namespace };
  const spec = { containers: [{ name: "a", image: "a" }] };
  await cluster.client
    .resource(PodKind)
    .apply({ metadata: { name: "p", namespace, labels: { app: "web" } }, spec }, options);
  for (const app of ["web", "idle"]) {
    const template = { metadata: { labels: { app } }, spec };
    await cluster.client
      .resource(DeploymentKind)
      .apply({ metadata: { name: app, namespace }, spec: { selector: { matchLabels: { app } }, template } }, options);
  }
});
afterAll(() => cluster.close());

async function logs(target: string, options: Parameters<typeof streamLogs>[2] = {}): Promise<string> {
  const terminal = testTerminal();
  await streamLogs({ client: cluster.client, context: "test", namespace: "default" }, target, options, terminal);
  return terminal.stdout();
}

test("the server's refusal is the command's", async () => {
  await expect(logs("none")).rejects.toMatchObject({ httpCode: 404, message: 'pods "none" not found' });
  await expect(logs("p", { tail: "many" })).rejects.toMatchObject({
    httpCode: 422,
    message: expect.stringContaining("tailLines"),
  });
});

test("a pod that has not run yet has no lines", async () => {
  expect(await logs("p")).toBe("");
  expect(await logs("pod/p", { tail: "5", since: "2h", timestamps: true })).toBe("");
});

test("a workload's logs are those of a pod that it selects", async () => {
  await expect(logs("deployment/web", { container: "other" })).rejects.toThrow(
    /container other is not valid for pod p/,
  );
  await expect(logs("deployment/idle")).rejects.toThrow("deployment/idle has no pods in namespace default");
  await expect(logs("deployment/none")).rejects.toMatchObject({ httpCode: 404 });
});

test.each([
  ["cronjob/x", {}, "logs of cronjob are not known: name a pod, or job/NAME"],
  ["p", { since: "soon" }, '--since "soon": write for instance 30s, 5m or 2h'],
  ["p", { since: "-5m" }, "--since"],
])("%j with %j is refused with what to write", async (target, options, message) => {
  await expect(logs(target, options)).rejects.toThrow(message);
});
