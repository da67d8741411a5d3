import { existsSync, watch } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import { systemClock } from "../../../../kernel/clock/index.js";
import { silentLogger } from "../../../../kernel/log/index.js";
import { temporaryFolder } from "../../../../testing/folder.js";
import { unless } from "../../../../testing/unless.js";
import { detectIsolation } from "../../isolation/detect.js";
import { createPodNetwork } from "../../network/index.js";
import { PodmanEngine } from "./engine.js";
import { podmanRuntime } from "./podman.js";
import { findPodman } from "./programs.js";

const isolation = detectIsolation();
const programs = findPodman(isolation);

/** Is asked about a container that was just started only when all who hear of its end have done what they do then. */
class LateEngine extends PodmanEngine {
  readonly #asked: string[] = [];
  readonly #running = new Set<Promise<unknown>>();

  override async ask(...question: Parameters<PodmanEngine["ask"]>): ReturnType<PodmanEngine["ask"]> {
    const [method, path] = question;
    const id = path.split("/")[2] ?? "";
    const isFirst = method === "GET" && this.#asked.at(-1) === `POST /containers/${id}/start`;
    this.#asked.push(`${method} ${path}`);
    if (isFirst) await this.#endOf(id);
    const work = super.ask(...question);
    const settled = work.catch(() => undefined).finally(() => this.#running.delete(settled));
    if (!isFirst) this.#running.add(settled);
    const answer = await work;
    // What podman says in the midst of taking a container away.
    if (isFirst && answer === undefined) throw new Error(`container ${id} does not exist in database`);
    return answer;
  }

  async #endOf(id: string): Promise<void> {
    const isTaken = (): boolean => this.#asked.some((each) => each.startsWith(`DELETE /containers/${id}`));
    await expect.poll(() => existsSync(join(this.exits, id)) || isTaken(), { timeout: 20_000 }).toBe(true);
    // Those who watch the folder hear in order: of this file after the container's.
    const last = join(this.exits, "last");
    const isHeard = new Promise<void>((resolve) => {
      const watcher = watch(this.exits, (_, name) => {
        if (name !== "last") return;
        watcher.close();
        resolve();
      });
    });
    await writeFile(last, "");
    await isHeard;
    await rm(last);
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}

unless("podman" in programs ? undefined : `podman cannot be used here: ${programs.reason}`)(
  "a container that ends before podman was asked for its processes has started, and its end is its own",
  async () => {
    if (!("podman" in programs)) return;
    const folder = temporaryFolder("podman");
    const shared = { clock: systemClock, log: silentLogger, isolation };
    const network = createPodNetwork({ ...shared, dataDir: join(folder, "network") });
    const engine = new LateEngine({ ...shared, dataDir: folder, programs });
    await Promise.all([network.start(), engine.start()]);
    const runtime = podmanRuntime({ ...shared, dataDir: join(folder, "node"), network, engine, hiddenPaths: [folder] });
    await runtime.start();
    await runtime.createPod({ uid: "p", namespace: "default", name: "p", hostname: "p", hostNetwork: false });

    await runtime.startContainer({
      podUid: "p",
      name: "quick",
      attempt: 0,
      image: "sh",
      imageId: "sh",
      command: ["sh", "-c", "echo said; exit 3"],
      env: [["PATH", "/usr/bin:/bin"]],
      workingDir: "/",
      mounts: [],
      imagePaths: [],
      limits: {},
      user: {},
      stdin: false,
      terminationMessagePath: "/dev/termination-log",
      annotations: {},
    });
    await expect.poll(() => runtime.containers("p")[0]?.state).toBe("exited");

    expect(runtime.containers("p")).toMatchObject([{ exitCode: 3, reason: "Error" }]);
    expect(runtime.containers("p")[0]?.message ?? "").toBe("");
    await runtime.close({ keepPods: false });
    await engine.close({ keepPods: false });
    await network.close({ keepPods: false });
  },
);
