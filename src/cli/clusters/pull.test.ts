import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";
import { SecretKind } from "../../kernel/kinds/index.js";
import { ClusterKind, WorkKind } from "../../modules/fleet/index.js";
import { startTestCluster } from "../../testing/index.js";
import { unless } from "../../testing/unless.js";
import { testTerminal } from "../output/terminal.fixture.js";
import { clustersCommand } from "./commands.js";

const embedded = unless(
  process.env["ARGOSY_TEST_REAL"] === undefined ? undefined : "strangers read health alone there unless told otherwise",
);

async function start() {
  const folder = mkdtempSync(join(tmpdir(), "argosy-pull-"));
  const hub = await startTestCluster({ name: "hub", kinds: [ClusterKind, WorkKind] });
  const paris = await startTestCluster({ name: "paris" });
  onTestFinished(async () => {
    await hub.close();
    await paris.close();
    rmSync(folder, { recursive: true });
  });
  const write = async ({ name, server }: typeof hub): Promise<string> => {
    const { url } = await server.listen({ host: "127.0.0.1", port: 0 });
    const file = join(folder, name);
    const cluster = { server: url, "certificate-authority-data": Buffer.from(server.caPem).toString("base64") };
    const config = {
      "current-context": name,
      clusters: [{ name, cluster }],
      users: [{ name, user: { token: server.adminToken } }],
      contexts: [{ name, context: { cluster: name, user: name } }],
    };
    writeFileSync(file, JSON.stringify(config));
    return file;
  };
  const [hubFile, parisFile] = [await write(hub), await write(paris)];
  const run = async (words: readonly string[]): Promise<string> => {
    const terminal = testTerminal();
    const command = clustersCommand({ terminal, exit: () => undefined });
    await command.parseAsync(["node", "argosy", ...words]);
    return terminal.stdout();
  };
  return { hub, paris, hubFile, parisFile, run };
}

embedded(
  "what the hub prints registers a member; another hub, a used token and a pushed member are refused",
  async () => {
    const { hub, paris, hubFile, parisFile, run } = await start();
    const printed = await run([
      "token",
      "create",
      "paris",
      "--kubeconfig",
      hubFile,
      "--region",
      "eu",
      "--label",
      "a=b",
    ]);
    expect(printed).toMatch(
      /^argosy clusters register paris --hub https:\S+ --ca-hash sha256:\S+ --token \S+ --member-kubeconfig FILE\n$/,
    );
    const words = printed.trim().replace("FILE", parisFile).split(" ").slice(2);
    const strange = words.map((word) => (word.startsWith("sha256:") ? `sha256:${"0".repeat(64)}` : word));
    await expect(run(strange)).rejects.toThrow(/is not the hub that --ca-hash names/);
    expect(await run([...words, "--member-context", "paris"])).toContain(
      `argosy agent --level cluster --pull --cluster paris --namespace argosy-system --kubeconfig ${parisFile} --context paris\n`,
    );
    expect(await hub.client.resource(ClusterKind).get("paris")).toMatchObject({
      metadata: { labels: { a: "b" } },
      spec: { syncMode: "Pull", region: "eu" },
    });
    const secret = await paris.client.resource(SecretKind).get("argosy-hub", { namespace: "argosy-system" });
    expect(Buffer.from(secret.data?.["ca.crt"] ?? "", "base64").toString()).toBe(hub.server.caPem);
    await expect(run(words)).rejects.toThrow(/it was used/);
    expect(await run(["list", "--kubeconfig", hubFile])).toMatch(/paris +Pull +Unknown/);
    expect(await run(["token", "revoke", "paris", "--kubeconfig", hubFile])).toContain("no way into the hub");
    await hub.client
      .resource(ClusterKind)
      .apply({ metadata: { name: "push" }, spec: { syncMode: "Push" } }, { fieldManager: "test" });
    await expect(run(["token", "create", "push", "--kubeconfig", hubFile])).rejects.toThrow(/in the fleet by push/);
    await expect(run(["token", "create", "x", "--kubeconfig", hubFile, "--ttl", "soon"])).rejects.toThrow(/--ttl/);
  },
);
