import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect } from "vitest";
import { systemClock } from "../../../../kernel/clock/index.js";
import { silentLogger } from "../../../../kernel/log/index.js";
import { temporaryFolder } from "../../../../testing/folder.js";
import { unless } from "../../../../testing/unless.js";
import { detectIsolation } from "../../isolation/detect.js";
import { PodmanEngine } from "./engine.js";
import { findPodman } from "./programs.js";

const programs = findPodman(detectIsolation());

/** Processes whose command line names the text. */
function processesWith(text: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(text);
      } catch {
        return false;
      }
    })
    .map(Number);
}

const withPodman = unless("podman" in programs ? undefined : `podman cannot be used here: ${programs.reason}`);

withPodman(
  "podman's service is there when it is asked, after it was killed too, and gone at the end with all it made",
  async () => {
    if (!("podman" in programs)) return;
    const folder = temporaryFolder("engine");
    const engine = new PodmanEngine({ dataDir: folder, programs, clock: systemClock, log: silentLogger });
    await engine.start();
    const runFolder = dirname(dirname(engine.exits));
    const before = processesWith(`unix://${runFolder}`);

    const first = await engine.ask("GET", "/info");
    const [service = 0, ...others] = processesWith(`unix://${runFolder}`);
    process.kill(service, "SIGKILL");
    const second = await engine.ask("GET", "/info");
    const missing = await engine.ask("GET", "/containers/none/json");
    const refused = engine.ask("POST", "/containers/create", { image: "none" });
    await expect(refused).rejects.toMatchObject({ code: "PodmanFailed" });
    await engine.close({ keepPods: false });

    expect([before, others]).toEqual([[], []]);
    expect(first?.["store"]).toMatchObject({ graphRoot: join(folder, "podman", "storage") });
    expect([second?.["version"], missing]).toEqual([first?.["version"], undefined]);
    expect([existsSync(runFolder), existsSync(join(folder, "podman"))]).toEqual([false, false]);
    expect(processesWith(`unix://${runFolder}`)).toEqual([]);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(folder);
  },
);

withPodman(
  "the service of a process that was killed ends before another process goes on: it would write into the folder",
  async () => {
    if (!("podman" in programs)) return;
    const options = { dataDir: temporaryFolder("engine"), programs, clock: systemClock, log: silentLogger };
    const killed = new PodmanEngine(options);
    await killed.start();
    await killed.ask("GET", "/info");
    const own = `unix://${dirname(dirname(killed.exits))}`;
    expect(processesWith(own)).toHaveLength(1);

    const next = new PodmanEngine(options);
    await next.start();
    await expect.poll(() => processesWith(own)).toEqual([]);
    expect(await next.ask("GET", "/containers/none/json")).toBe(undefined);
    await next.close({ keepPods: false });
    expect(readdirSync(options.dataDir)).toEqual([]);
  },
);
