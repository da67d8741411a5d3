import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createClient, httpTransport, loadKubeconfig } from "../src/kernel/client/index.js";
import { systemClock, systemRandom } from "../src/kernel/clock/index.js";
import { ConfigMapKind, PodKind } from "../src/kernel/kinds/index.js";
import { type Running, startArgosy, withDataDirectory } from "./support/argosy.js";
import { within } from "./support/polling.js";

// The moments at which the main process is killed: what it has just said on stderr, so that each falls into another part of the job.
const moments = [
  "start the API servers",
  "✔ start the API servers",
  "✔ start the nodes",
  "… train the digits model",
  "✔ train the digits model",
  "… deliver it to cloud and edge",
  "✔ deliver it to cloud and edge",
  "… build the head ingress",
  "… send 1000 held-out rows",
  "✔ send 1000 held-out rows",
];

const clientOf = async (data: string, context: string) =>
  createClient({
    transport: httpTransport((await loadKubeconfig(join(data, "kubeconfig"), context)).transport),
    clock: systemClock,
    random: systemRandom,
  });

/** Creates ConfigMaps in the hub as fast as it answers, until told to stop; returns the names that were acknowledged. */
function writer(data: string, round: number): { stop(): Promise<string[]> } {
  const acknowledged: string[] = [];
  let stopped = false;
  const work = (async () => {
    while (!stopped) {
      try {
        const client = await clientOf(data, "hub");
        for (let index = acknowledged.length; !stopped; index += 1) {
          const name = `w-${round}-${index}`;
          await client
            .resource(ConfigMapKind)
            .create(
              { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { index: String(index) } },
              { namespace: "default" },
            );
          acknowledged.push(name);
        }
      } catch {
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  })();
  return {
    stop: async () => {
      stopped = true;
      await within(`writer ${round} stops`, work, { boundMs: 90_000, seen: () => acknowledged.at(-1) });
      return acknowledged;
    },
  };
}

interface PodFacts {
  readonly uid: string;
  readonly containerId: string;
  readonly restarts: number;
}

async function readyPods(data: string): Promise<Map<string, PodFacts>> {
  const pods = new Map<string, PodFacts>();
  for (const context of ["cloud", "edge"]) {
    const client = await clientOf(data, context);
    for (const pod of (await client.resource(PodKind).list({ namespace: "digits" })).items) {
      const [container] = pod.status?.containerStatuses ?? [];
      if (container?.ready === true) {
        pods.set(`${context}/${pod.metadata.name}`, {
          uid: pod.metadata.uid,
          containerId: container.containerID ?? "",
          restarts: container.restartCount,
        });
      }
    }
    await client.close();
  }
  return pods;
}

async function killed(running: Running): Promise<void> {
  running.child.kill("SIGKILL");
  await running.finished;
}

test("kill -9 at ten moments: nothing acknowledged is lost, pods are adopted, the job completes", async () => {
  await withDataDirectory(async (data) => {
    const acknowledged: string[] = [];
    for (const [round, moment] of moments.entries()) {
      const running = startArgosy(["start", "--data", data]);
      const writing = writer(data, round);
      await running.says(moment);
      await killed(running);
      acknowledged.push(...(await writing.stop()));
    }

    const before = startArgosy(["start", "--data", data]);
    await before.says("running; Ctrl-C");
    const podsBefore = await readyPods(data);
    await killed(before);
    const after = startArgosy(["start", "-o", "json", "--data", data]);
    await after.says("running; Ctrl-C");
    const podsAfter = await readyPods(data);
    const hub = await clientOf(data, "hub");
    const kept = new Set(
      (await hub.resource(ConfigMapKind).list({ namespace: "default" })).items.map((item) => item.metadata.name),
    );
    const runs = JSON.parse(readFileSync(join(data, "argosy.json"), "utf8")) as { version: number };
    await hub.close();
    after.child.kill("SIGTERM");
    const { code, stderr } = await after.finished;

    expect(code, stderr).toBe(0);
    expect(runs.version).toBe(1);
    expect(acknowledged.filter((name) => !kept.has(name))).toEqual([]);
    expect(podsBefore.size).toBe(3);
    expect(podsAfter).toEqual(podsBefore);
    expect(stderr).toContain("trained by an earlier start");
  });
}, 600_000);
