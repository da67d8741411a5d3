import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createClient, httpTransport, loadKubeconfig } from "../kernel/client/index.js";
import { ConfigMapKind } from "../kernel/kinds/index.js";
import { startTestCluster } from "../testing/index.js";
import { renderKubeconfig } from "./kubeconfig.js";

test("a client that reads the kubeconfig reaches each cluster as its administrator; the first is current", async () => {
  const folder = mkdtempSync(join(tmpdir(), "argosy-kubeconfig-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const clusters = await Promise.all(["hub", "edge"].map((name) => startTestCluster({ name })));
  onTestFinished(async () => {
    for (const cluster of clusters) await cluster.close();
  });
  const listed = await Promise.all(
    clusters.map(async ({ name, server }) => ({
      name,
      server: (await server.listen({ host: "127.0.0.1", port: 0 })).url,
      caPem: server.caPem,
      token: server.adminToken,
    })),
  );
  const file = join(folder, "kubeconfig");
  writeFileSync(file, renderKubeconfig(listed));

  for (const [context, name] of [[undefined, "hub"] as const, ["edge", "edge"] as const]) {
    const config = await loadKubeconfig(file, context);
    const { clock, random } = clusters[0] ?? (await startTestCluster());
    const client = createClient({ transport: httpTransport(config.transport), clock, random });
    await client
      .resource(ConfigMapKind)
      .apply(
        { metadata: { name: `from-${name}`, namespace: "default" } },
        { fieldManager: "test", namespace: "default" },
      );
    await client.close();
    expect(config.name).toBe(name);
  }

  const names = await Promise.all(
    clusters.map(async ({ client }) =>
      (await client.resource(ConfigMapKind).list({ namespace: "default" })).items.map(({ metadata }) => metadata.name),
    ),
  );
  expect(names[0]).toContain("from-hub");
  expect(names[1]).toContain("from-edge");
});
