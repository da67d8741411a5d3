import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type Addresses, readAddresses, writeAddresses } from "./addresses.js";
import { layoutOf } from "./layout.js";

test("addresses are read as they were written; a file that is none counts as missing", async () => {
  const folder = mkdtempSync(join(tmpdir(), "argosy-addresses-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const layout = layoutOf(folder);
  const addresses: Addresses = {
    clusters: [
      { name: "hub", role: "hub", api: "https://127.0.0.1:6440", nodes: [], ingress: "http://127.0.0.1:8080" },
      {
        name: "edge",
        role: "member",
        api: "https://127.0.0.1:6441",
        nodes: ["edge"],
        ingress: "http://127.0.0.1:8081",
      },
    ],
    ingress: "http://127.0.0.1:8080",
    northbound: "https://127.0.0.1:5000",
    northboundFromPods: "https://tracking.argosy-system.svc.cluster.local:5000",
    artifacts: "https://127.0.0.1:9000",
    kubeconfig: layout.kubeconfig,
    caFile: join(layout.pki, "ca.crt"),
  };

  expect(await readAddresses(layout)).toBeUndefined();
  await writeAddresses(layout, addresses);
  expect(await readAddresses(layout)).toEqual(addresses);

  writeFileSync(join(folder, "addresses.json"), '{"clusters": [');
  expect(await readAddresses(layout)).toBeUndefined();
});
