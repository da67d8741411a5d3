import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { northboundClient } from "./northbound.js";

test("a kubeconfig without a token is told that one is needed, before anybody is asked", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "argosy-northbound-"));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
  const northbound = "https://127.0.0.1:1";
  await writeFile(join(dataDir, "addresses.json"), JSON.stringify({ clusters: [], northbound }));
  const kubeconfig = join(dataDir, "hub.kubeconfig");
  await writeFile(
    kubeconfig,
    JSON.stringify({
      clusters: [{ name: "hub", cluster: { server: "https://127.0.0.1:1" } }],
      users: [{ name: "kim", user: {} }],
      contexts: [{ name: "hub", context: { cluster: "hub", user: "kim" } }],
      "current-context": "hub",
    }),
  );
  await expect(northboundClient({ data: dataDir, kubeconfig })).rejects.toThrow(`${kubeconfig} has no token`);
});
