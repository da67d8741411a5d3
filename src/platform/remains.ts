import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { createPodNetwork, detectIsolation, isolationIn, networkFileOf } from "../cluster/node/index.js";
import { runningGateway } from "../dataplane/gateway/index.js";
import { systemClock } from "../kernel/clock/index.js";
import { silentLogger } from "../kernel/log/index.js";
import type { Layout } from "./layout.js";
import { lastRuntime, type NodeRuntime, openRuntimes, podmanFolder } from "./runtime.js";

/** Ends what a killed or `--keep-pods` run left behind: gateway and pods with their network. Returns how many processes there were. */
export async function stopRemains(layout: Layout): Promise<number> {
  let ended = 0;
  const gateway = await runningGateway(layout.gateway);
  if (gateway !== undefined) {
    ended += endProcess(gateway) ? 1 : 0;
  }
  return ended + (await endPods(layout, await lastRuntime(layout)));
}

/** Ends the pods that a runtime left running, with their network. Returns how many containers there were. */
export async function endPods(layout: Layout, runtimeName: NodeRuntime): Promise<number> {
  let ended = 0;
  const nodes = await nodeFolders(layout);
  // Podman's files go with the last of its containers; without them there need be no podman any more.
  const isClean = runtimeName === "podman" && !existsSync(podmanFolder(layout));
  if (isClean || (nodes.length === 0 && !existsSync(networkFileOf(layout.root)))) {
    return ended;
  }
  const isolation = isolationIn(layout.root, detectIsolation());
  const network = createPodNetwork({ dataDir: layout.root, isolation, log: silentLogger });
  await network.start();
  const runtimes = await openRuntimes(runtimeName, { layout, isolation, clock: systemClock, log: silentLogger });
  for (const dataDir of nodes) {
    const runtime = runtimes.make({ dataDir, log: silentLogger, network });
    await runtime.start();
    ended += runtime
      .pods()
      .flatMap((pod) => runtime.containers(pod.uid))
      .filter(({ state }) => state !== "exited").length;
    await runtime.close({ keepPods: false });
  }
  await runtimes.close({ keepPods: false });
  await network.close({ keepPods: false });
  return ended;
}

/** False when it ended by itself in the meantime. */
function endProcess(pid: number): boolean {
  try {
    process.kill(pid, "SIGTERM");
    return true;
  } catch {
    return false;
  }
}

async function nodeFolders(layout: Layout): Promise<string[]> {
  const clusters = await namesIn(join(layout.root, "clusters"));
  const folders = await Promise.all(
    clusters.map(async (cluster) =>
      (await namesIn(join(layout.cluster(cluster), "nodes"))).map((node) => layout.node(cluster, node)),
    ),
  );
  return folders.flat();
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch {
    return [];
  }
}
