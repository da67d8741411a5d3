import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { silentLogger } from "../../../kernel/log/index.js";
import { unless } from "../../../testing/unless.js";
import { runCommand } from "../commands.js";
import { detectIsolation } from "../isolation/detect.js";
import { bridgeNetwork } from "./bridge.js";
import type { PodAddress } from "./types.js";

const isRoot = detectIsolation().mode === "root";
const aliasOf = (name: string): string => {
  const file = `/sys/class/net/${name}/ifalias`;
  return existsSync(file) ? readFileSync(file, "utf8").trim() : "";
};
const namespaceOf = ({ enter }: PodAddress): string => (enter[1] ?? "").replace("--net=", "");
/** The bridges of a data directory: other tests make theirs at the same time. */
const bridgesOf = (dataDir: string): string[] =>
  readdirSync("/sys/class/net").filter((name) => aliasOf(name) === dataDir);

unless(isRoot ? undefined : "only root makes bridges")(
  "addresses stay with their pods; what a dead run left behind goes",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "argosy-bridge-"));
    const dataDir = join(folder, "a");
    const owner = join(folder, "pod");
    mkdirSync(owner);
    const first = bridgeNetwork({ dataDir, log: silentLogger });
    await first.start();
    const kept = await first.attach("kept", owner);
    const lost = await first.attach("lost", join(folder, "no-such-pod"));
    const made = bridgesOf(dataDir);

    const second = bridgeNetwork({ dataDir, log: silentLogger });
    await second.start();
    const again = await second.attach("kept", owner);
    const isLostGone = !existsSync(namespaceOf(lost));
    rmSync(dataDir, { recursive: true });
    const third = bridgeNetwork({ dataDir: join(folder, "b"), log: silentLogger });
    await third.start();
    const left = bridgesOf(dataDir);
    await third.close({ keepPods: false });
    rmSync(folder, { recursive: true });

    expect(made).toHaveLength(1);
    expect(again).toEqual(kept);
    expect(isLostGone).toBe(true);
    expect(left).toEqual([]);
    expect(existsSync(namespaceOf(kept))).toBe(false);
  },
);

unless(isRoot ? undefined : "only root makes bridges")(
  "pods that come do not change the machine's hardware address among them; claims of bridges that are gone go",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "argosy-bridge-"));
    const network = bridgeNetwork({ dataDir: folder, log: silentLogger });
    // Of a run that was killed: nobody has this hash.
    await runCommand("ip", ["route", "replace", "local", "198.19.254.254", "dev", "lo", "metric", "1"]);
    await network.start();
    const [bridge = ""] = bridgesOf(folder);
    const hardware = (): string => readFileSync(`/sys/class/net/${bridge}/address`, "utf8").trim();
    const before = hardware();
    const seen = new Set<string>();
    for (let pod = 0; pod < 8; pod += 1) {
      await network.attach(`pod-${pod}`, folder);
      seen.add(hardware());
    }
    const { stdout } = await runCommand("ip", ["route", "show", "table", "local"]);
    await network.close({ keepPods: false });
    rmSync(folder, { recursive: true });

    expect([...seen]).toEqual([before]);
    expect(stdout).not.toContain("198.19.254.254");
  },
);
