import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { expect } from "vitest";
import { unless } from "../../src/testing/unless.js";
import { argosy, startArgosy, withDataDirectory } from "../support/argosy.js";
import { execute, succeed } from "./support.js";

/** The plugin, built from `github.com/karmada-io/karmada/cmd/kubectl-karmada`. */
const plugin = [...(process.env["PATH"] ?? "").split(delimiter), process.env["ARGOSY_REAL_BIN"] ?? ""]
  .map((folder) => join(folder, "kubectl-karmada"))
  .find((file) => existsSync(file));

unless(plugin === undefined ? "kubectl-karmada is not installed" : undefined)(
  "kubectl karmada joins a member, reads through the hub, cordons it, and takes it out again",
  () =>
    withDataDirectory(async (directory) => {
      const running = startArgosy([
        ...["up", "--members", "a,b", "--without", "scheduler,nodes,workloads", "--data", directory],
      ]);
      try {
        await running.says("ready:");
        expect((await argosy("clusters", "leave", "b", "--data", directory)).code).toBe(0);
        const [hub, b] = ["hub", "b"].map((name) => join(directory, "clusters", name, "kubeconfig"));
        const run = (...words: string[]): Promise<string> =>
          succeed(plugin ?? "", [...words, "--kubeconfig", hub ?? ""]);
        const joined = await run("join", "paris", "--cluster-kubeconfig", b ?? "", "--cluster-zones", "eu-1");
        expect(joined).toContain("cluster(paris) is joined successfully");
        await expect.poll(() => run("get", "clusters"), { timeout: 20_000 }).toMatch(/paris +Karmada +\S+ +Push +True/);
        // The rights to speak for others there are on their way for a moment.
        const words = ["get", "namespaces", "--operation-scope", "members", "--clusters", "paris"];
        const read = async (): Promise<string> =>
          (await execute(plugin ?? "", [...words, "--kubeconfig", hub ?? ""])).stdout;
        await expect.poll(read, { timeout: 20_000 }).toMatch(/karmada-cluster +paris +Active/);
        expect(await run("cordon", "paris")).toContain("paris cluster cordoned");
        expect(await run("uncordon", "paris")).toContain("paris cluster uncordoned");
        await run("unjoin", "paris", "--cluster-kubeconfig", b ?? "", "--cluster-context", "b");
        expect(await run("get", "clusters")).not.toContain("paris");
      } finally {
        running.child.kill("SIGTERM");
        await running.finished;
      }
    }),
  120_000,
);
