import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { detectIsolation, findPodman, type Isolation } from "../cluster/node/index.js";
import { systemClock } from "../kernel/clock/index.js";
import { silentLogger } from "../kernel/log/index.js";
import { unless } from "../testing/unless.js";
import { layoutOf } from "./layout.js";
import { lastRuntime, noteRuntime, openRuntimes, parseRuntime } from "./runtime.js";

const folder = mkdtempSync(join(tmpdir(), "argosy-runtimes-"));
const layout = layoutOf(folder);
const isolation = detectIsolation();
const found = findPodman(isolation);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("the runtime is remembered; at first it is processes", async () => {
  const first = await lastRuntime(layout);
  await noteRuntime(layout, "podman");

  expect([first, await lastRuntime(layout)]).toEqual(["process", "podman"]);
  expect(() => parseRuntime("docker")).toThrow('there is no runtime "docker"; there are process, podman');
});

test("where podman cannot be used, the refusal says why and what to do", async () => {
  const plain: Isolation = { ...isolation, mode: "user" };

  await expect(
    openRuntimes("podman", { layout, isolation: plain, clock: systemClock, log: silentLogger }),
  ).rejects.toThrow(/--runtime podman: .* as root.*--runtime process/);
});

unless("podman" in found ? undefined : `podman cannot be used here: ${found.reason}`)(
  "what podman needs is made in the data directory, and taken away when no pods stay",
  async () => {
    const runtimes = await openRuntimes("podman", { layout, isolation, clock: systemClock, log: silentLogger });
    const own = join(folder, "podman");

    const made = existsSync(own);
    await runtimes.close({ keepPods: true });
    const kept = existsSync(own);
    await runtimes.close({ keepPods: false });

    expect([runtimes.name, made, kept, existsSync(own)]).toEqual(["podman", true, true, false]);
  },
);
