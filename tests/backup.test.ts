import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ConfigMapKind } from "../src/kernel/kinds/index.js";
import { argosy, startArgosy, withDataDirectory } from "./support/argosy.js";
import { clientOf } from "./support/fleet.js";

async function write(data: string, cluster: string, name: string): Promise<void> {
  const client = await clientOf(data, cluster);
  try {
    await client
      .resource(ConfigMapKind)
      .create({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: {} }, { namespace: "default" });
  } finally {
    await client.close();
  }
}

async function namesIn(data: string, cluster: string): Promise<string[]> {
  const client = await clientOf(data, cluster);
  try {
    const { items } = await client.resource(ConfigMapKind).list({ namespace: "default" });
    return items.map(({ metadata }) => metadata.name).filter((name) => name.startsWith("w-"));
  } finally {
    await client.close();
  }
}

test("a backup of a running fleet becomes a fleet of its own", { timeout: 120_000 }, async () => {
  await withDataDirectory(async (data) => {
    await withDataDirectory(async (other) => {
      const backup = join(other, "backup");
      const restored = join(other, "restored");
      const running = startArgosy(["up", "--data", data, "--members", "edge"]);
      await running.says("\nready: ");
      await write(data, "hub", "w-hub");
      await write(data, "edge", "w-edge");
      const made = await argosy("backup", "--data", data, backup);
      await write(data, "hub", "w-later");
      const again = await argosy("backup", "--data", data, backup);
      const onto = await argosy("restore", "--data", data, backup);
      running.child.kill("SIGTERM");
      await running.finished;

      const brought = await argosy("restore", "--data", restored, backup);
      const second = startArgosy(["up", "--data", restored]);
      await second.says("\nready: ");
      const names = [await namesIn(restored, "hub"), await namesIn(restored, "edge")];
      second.child.kill("SIGTERM");
      await second.finished;

      expect(made.code, made.stderr).toBe(0);
      expect(made.stderr).toMatch(/backed up to .*: edge up to revision \d+, hub up to revision \d+/);
      expect(again.code).toBe(2);
      expect(again.stderr).toContain("is not empty");
      expect(onto.code).toBe(2);
      expect(onto.stderr).toContain("Argosy runs on");
      expect(brought.code, brought.stderr).toBe(0);
      expect(names).toEqual([["w-hub"], ["w-edge"]]);
    });
  });
});

test("what is no backup is not restored", async () => {
  await withDataDirectory(async (other) => {
    const folder = join(other, "half");
    mkdirSync(folder);
    writeFileSync(join(folder, "argosy.json"), "{}");

    const refused = await argosy("restore", "--data", join(other, "restored"), folder);
    const none = await argosy("backup", "--data", join(other, "nothing"), join(other, "backup"));

    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/holds no backup: there is no backup\.json/);
    expect(none.code).toBe(2);
    expect(none.stderr).toContain("holds no data of Argosy");
  });
});
