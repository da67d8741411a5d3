import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import {
  clientsFolder,
  type Executed,
  execute,
  goTool,
  kubectl,
  noPods,
  sharedCluster,
  succeed,
  testWith,
} from "./support.js";

const tool = goTool("helm", "helm.sh/helm/v3/cmd/helm");
const cluster = sharedCluster();
const chart = join(clientsFolder, "helm", "chart");

interface Place {
  /** Runs helm in the namespace; must end well. */
  readonly helm: (...words: string[]) => Promise<string>;
  /** Runs it whatever comes. */
  readonly attempt: (...words: string[]) => Promise<Executed>;
  /** What kubectl prints. */
  readonly read: (...words: string[]) => Promise<string>;
  readonly folder: string;
}

async function withNamespace(program: string, namespace: string, use: (place: Place) => Promise<void>): Promise<void> {
  const { env } = await cluster();
  const folder = mkdtempSync(join(tmpdir(), "argosy-helm-"));
  const own = {
    ...env,
    HELM_CACHE_HOME: join(folder, "c"),
    HELM_CONFIG_HOME: join(folder, "f"),
    HELM_DATA_HOME: join(folder, "d"),
  };
  const binary = join(program, "helm");
  try {
    await use({
      helm: (...words) => succeed(binary, [...words, "-n", namespace], { env: own }),
      attempt: (...words) => execute(binary, [...words, "-n", namespace], { env: own }),
      read: (...words) => kubectl(env, ...words, "-n", namespace),
      folder,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

testWith(
  tool,
  "helm installs, upgrades, rolls back, tests and removes a chart with hooks",
  async (program, context) => {
    if (noPods !== undefined) context.skip(`skipped, because ${noPods}`);
    await withNamespace(program, "trial", async ({ helm, attempt, read }) => {
      const wait = ["--wait", "--timeout", "60s"];
      const data = async () => JSON.parse(await read("get", "configmap", "one", "-o", "jsonpath={.data}")) as unknown;
      await read("create", "namespace", "trial");
      await read("create", "secret", "generic", "given", "--from-literal=word=looked-up");

      const planned = await attempt("install", "one", chart, "--dry-run=server");
      const before = await attempt("status", "one");
      const installed = await helm("install", "one", chart, ...wait);
      const first = await data();
      const tested = await helm("test", "one", "--logs");
      const dry = await helm("upgrade", "one", chart, "--dry-run=server", "--set", "colour=green");
      await helm("upgrade", "one", chart, "--set", "colour=green,replicas=2", ...wait);
      const pods = await read("get", "pods", "-l", "app=one", "-o", "jsonpath={.items[*].metadata.annotations.colour}");
      const blue = await attempt("upgrade", "one", chart, "--set", "colour=blue", ...wait);
      const pink = await attempt("upgrade", "one", chart, "--set", "colour=pink", "--no-hooks");
      await helm("rollback", "one", "1", ...wait);
      const back = await data();
      const history = JSON.parse(await helm("history", "one", "-o", "json")) as { status: string }[];
      const listed = JSON.parse(await helm("list", "-o", "json")) as { name: string; revision: string }[];
      await helm("uninstall", "one", ...wait);
      const after = await read("get", "deployments,services,flags,configmaps,secrets", "-o", "name");
      await read("delete", "crd", "flags.helm.example.com");

      expect(planned.stderr).toContain('no matches for kind "Flag" in version "helm.example.com/v1"');
      expect(before.stderr).toContain("release: not found");
      expect(installed).toContain("STATUS: deployed");
      expect(first).toEqual({
        colour: "red",
        revision: "1",
        found: "looked-up",
        hasNamespaces: "true",
        minor: "34",
        hasJobs: "true",
      });
      expect(tested).toMatch(/Phase: +Succeeded[\s\S]*POD LOGS: one-test\nhello/);
      expect(dry).toMatch(/colour: green\n {2}revision: "2"\n {2}found: looked-up/);
      expect(pods).toBe("green green");
      expect(blue.stderr).toContain(
        "pre-upgrade hooks failed: 1 error occurred:\n\t* job one-before failed: BackoffLimitExceeded",
      );
      expect(pink.stderr).toContain(
        '"one" is invalid: spec.colour: Unsupported value: "pink": supported values: "red", "green", "blue"',
      );
      expect(back).toEqual(first);
      expect(history.map(({ status }) => status)).toEqual(["superseded", "superseded", "failed", "failed", "deployed"]);
      expect(listed).toMatchObject([{ name: "one", revision: "5" }]);
      expect(after.trim().split("\n").sort()).toEqual([
        "configmap/kube-root-ca.crt",
        "configmap/one-farewell",
        "secret/given",
      ]);
    });
  },
);

testWith(tool, "helm's own example chart works unchanged", async (program, context) => {
  if (noPods !== undefined) context.skip(`skipped, because ${noPods}`);
  await withNamespace(program, "example", async ({ helm, read, folder }) => {
    const created = join(folder, "example");
    await helm("create", created);

    const upgraded = await helm(
      "upgrade",
      "--install",
      "shop",
      created,
      "--create-namespace",
      "--wait",
      "--atomic",
      "--timeout",
      "60s",
    );
    const tested = await helm("test", "shop");
    await helm("uninstall", "shop", "--wait", "--timeout", "60s", "--cascade", "foreground");
    const left = await read("get", "all", "-o", "name");

    expect(upgraded).toContain("STATUS: deployed");
    expect(tested).toMatch(/Phase: +Succeeded/);
    expect(left.trim()).toBe("pod/shop-example-test-connection");
  });
});
