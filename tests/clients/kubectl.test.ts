import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { unless } from "../../src/testing/unless.js";
import { clientsFolder, execute, kubectls, noPods, sharedCluster, succeed } from "./support.js";

const cluster = sharedCluster();
const overlay = join(clientsFolder, "kustomize", "overlay");
const noKubectl = kubectls.length === 0 ? "kubectl is not installed" : undefined;

interface Item {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data?: Readonly<Record<string, string>>;
}

unless(noKubectl)(
  "each kubectl of the machine applies an overlay of kustomize, compares and deletes it",
  async () => {
    const { env } = await cluster();
    for (const { version, program } of kubectls) {
      const run = (...words: string[]): Promise<string> => succeed(program, words, { env });
      const names = async (kinds: string): Promise<string[]> =>
        (await run("get", kinds, "-n", "overlay", "-o", "name")).trim().split("\n").sort();

      await run("apply", "-k", overlay);
      const made = await names("deployments,services,secrets");
      const read = JSON.parse(await run("get", "configmaps", "-n", "overlay", "-l", "generated=yes", "-o", "json")) as {
        items: Item[];
      };
      const spec = await run(
        ...["get", "deployment", "prod-web", "-n", "overlay", "-o"],
        "jsonpath={.spec.replicas} {.spec.template.spec.containers[*].image} {.spec.template.spec.containers[*].envFrom[*].configMapRef.name}",
      );
      const again = await run("apply", "-k", overlay);
      const same = await execute(program, ["diff", "-k", overlay], { env });
      await run("scale", "deployment/prod-web", "-n", "overlay", "--replicas=0");
      const changed = await execute(program, ["diff", "-k", overlay], { env });
      const forced = await run("apply", "-k", overlay, "--server-side", "--force-conflicts");
      const explained = await run("explain", "deployment.spec.strategy.rollingUpdate");
      const refused = await execute(program, ["create", "-f", "-"], { env, input: typo });
      // The namespace goes first; a slow kubectl does not find what went with it.
      await run("delete", "-k", overlay, "--ignore-not-found", "--wait", "--timeout=60s");

      expect(made, version).toEqual([
        "deployment.apps/prod-web",
        expect.stringMatching(/^secret\/prod-password-/),
        "service/prod-web",
      ]);
      expect(
        read.items.map(({ data }) => data),
        version,
      ).toEqual([{ colour: "red", size: "large" }]);
      expect(spec, version).toBe(`2 node:20 ${read.items[0]?.metadata.name}`);
      expect(again.trim().split("\n"), version).toEqual(Array(5).fill(expect.stringMatching(/ unchanged$/)));
      expect([same.code, same.stdout], version).toEqual([0, ""]);
      expect([changed.code, changed.stdout], version).toEqual([
        1,
        expect.stringMatching(/- {2}replicas: 0\n\+ {2}replicas: 2/),
      ]);
      expect(forced, version).toContain("deployment.apps/prod-web serverside-applied");
      expect(explained, version).toMatch(/maxSurge/);
      expect(refused.stderr, version).toMatch(/unknown field "spec\.sellector"/);
    }
  },
  300_000,
);

unless(noKubectl ?? noPods)(
  "each kubectl of the machine runs programs in pods and copies files, over SPDY or WebSockets as it likes",
  async () => {
    const { env } = await cluster();
    const first = kubectls[0]?.program ?? "";
    const sleeper = [
      "run",
      "target",
      "--image=node",
      "--restart=Never",
      "--command",
      "--",
      "sh",
      "-c",
      "echo up; sleep 600",
    ];
    await succeed(first, sleeper, { env });
    await succeed(first, ["wait", "pod/target", "--for=condition=Ready", "--timeout=60s"], { env });
    const folder = mkdtempSync(join(tmpdir(), "argosy-kubectl-"));
    const sent = randomBytes(300_000);
    writeFileSync(join(folder, "sent"), sent);
    for (const { version, program } of kubectls) {
      const script = ["sh", "-c", "cat; echo problem >&2; exit 3"];

      const said = await execute(program, ["exec", "-i", "target", "--", ...script], { env, input: "typed" });
      const logs = await succeed(program, ["logs", "target"], { env });
      await succeed(program, ["cp", join(folder, "sent"), `target:/tmp/${version}`], { env });
      await succeed(program, ["cp", `target:/tmp/${version}`, join(folder, version)], { env });
      const missing = await execute(program, ["exec", "target", "-c", "other", "--", "true"], { env });

      expect([said.code, said.stdout, said.stderr.split("\n")[0]], version).toEqual([3, "typed", "problem"]);
      expect(logs, version).toBe("up\n");
      expect(readFileSync(join(folder, version)).equals(sent), version).toBe(true);
      expect(missing.stderr, version).toMatch(/container other is not valid for pod target|container not found/);
    }
    rmSync(folder, { recursive: true, force: true });
    await succeed(first, ["delete", "pod", "target", "--now"], { env });
  },
  300_000,
);

const typo = JSON.stringify({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "typo" },
  spec: { sellector: { a: "b" }, ports: [{ port: 80 }] },
});
