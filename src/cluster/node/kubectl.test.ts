import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { unless } from "../../testing/unless.js";
import { podDraft, shell, startNode, type TestNode } from "./agent.fixture.js";
import { findProgram } from "./commands.js";
import { files, layerOf, layoutOf, programs } from "./images/layout.fixture.js";
import { detectIsolation } from "./index.js";
import { runtimeHomes } from "./runtime/runtimes.fixture.js";

const kubectl = findProgram("kubectl");
const isolation = detectIsolation();

describe.each(runtimeHomes)("$name", ({ name: runtime, missing: noPods }) => {
  const missing = noPods ?? (kubectl === undefined ? "kubectl is not on this machine" : undefined);
  let node: TestNode;
  let kubeconfig = "";
  let images = "";

  beforeAll(async () => {
    if (missing !== undefined) return;
    images = mkdtempSync(join(tmpdir(), "argosy-kubectl-"));
    const layer = layerOf(images, (to) => {
      programs("sh", "cat", "id", "mkdir", "sleep", "tar", "touch", "env", "setpriv", "umount")(to);
      files({
        "etc/passwd": "app:x:1000:1001::/:\n",
        "etc/group": "extra:x:44:app\n",
        "data/text": "from the image\n",
      })(to);
    });
    const imageConfig = {
      Entrypoint: ["/bin/sh", "-c"],
      Cmd: ["id; pwd; echo $COLOR; cat /data/text; touch /data/x 2>/dev/null || echo not mine; exec sleep 1000"],
      Env: ["PATH=/bin", "COLOR=red"],
      WorkingDir: "/tmp/work",
      User: "app",
    };
    const tool = { ociLayout: layoutOf(images, [layer], imageConfig) };
    node = await startNode({ isolation, runtime, images: { "quay.io/team/tool": tool } });
    const { server } = node.cluster;
    const { url } = await server.listen({ host: "127.0.0.1", port: 0 });
    kubeconfig = join(node.folder, "kubeconfig");
    const cluster = { server: url, "certificate-authority-data": Buffer.from(server.caPem).toString("base64") };
    const config = {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "c", cluster }],
      users: [{ name: "u", user: { token: server.adminToken } }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      "current-context": "x",
    };
    writeFileSync(kubeconfig, JSON.stringify(config));
    await node.create(podDraft("box", { containers: [shell("exec sleep 1000")] }));
    await node.seen("box", (pod) => pod.status?.containerStatuses?.[0]?.ready === true);
  });
  afterAll(async () => {
    await node?.close();
    rmSync(images, { recursive: true, force: true });
  });

  interface Said {
    readonly code: number | null;
    readonly stdout: string;
    readonly stderr: string;
  }

  function run(
    command: string,
    args: readonly string[],
    input: string | undefined,
    seen: (stdout: string) => void = () => undefined,
  ): Promise<Said> {
    const child = spawn(command, args, {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, KUBECONFIG: kubeconfig },
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      seen(stdout);
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.stdin.on("error", () => undefined);
    child.stdin.end(input ?? "");
    return new Promise((resolve) => child.on("close", (code) => resolve({ code, stdout, stderr })));
  }

  const k = (words: readonly string[], input?: string): Promise<Said> => run(kubectl ?? "kubectl", words, input);
  /** A pod of this node: the cluster has no scheduler. */
  const here = `--overrides=${JSON.stringify({ spec: { nodeName: "node-1", terminationGracePeriodSeconds: 1 } })}`;

  unless(missing)("run -i: what is piped in reaches the program, which sees its end", async () => {
    const words = ["run", "sort", "--image=shell", "--restart=Never", "-i", "--rm", "--quiet", here, "--command", "--"];
    const said = await k([...words, "sh", "-c", "sort; echo end"], "b\na\n");

    expect(said.stdout).toContain("a\nb\nend\n");
    expect(said.code).toBe(0);
  });

  unless(missing)("run -i: kubectl's exit code is the program's", async () => {
    const words = [
      "run",
      "exits",
      "--image=shell",
      "--restart=Never",
      "-i",
      "--rm",
      "--quiet",
      here,
      "--command",
      "--",
    ];
    const said = await k([...words, "sh", "-c", "read line; exit 5"], "go\n");

    expect(said.stderr).not.toContain("couldn't attach");
    expect(said.code).toBe(5);
  });

  unless(missing)("exec: input, both outputs, exit code", async () => {
    const said = await k(["exec", "-i", "box", "--", "sh", "-c", "cat; echo oops >&2; exit 9"], "typed");

    expect(said).toMatchObject({ code: 9, stdout: "typed" });
    expect(said.stderr).toContain("oops\n");
  });

  unless(missing)("exec -it: the terminal is as large as kubectl's own", async () => {
    const line = `stty cols 91 rows 27; exec ${kubectl} exec -it box -- stty size`;
    const said = await run("script", ["-qec", line, "/dev/null"], undefined);

    expect(said.stdout).toContain("27 91");
    expect(said.code).toBe(0);
  });

  unless(missing)("cp: files and folders, there and back", async () => {
    const from = join(node.folder, "from");
    mkdirSync(join(from, "deep"), { recursive: true });
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7) % 251));
    writeFileSync(join(from, "deep", "f.bin"), bytes);

    const there = await k(["cp", from, "box:/tmp/"]);
    const back = await k(["cp", "box:/tmp/from/deep/f.bin", join(node.folder, "back.bin")]);

    expect([there.code, back.code]).toEqual([0, 0]);
    expect(readFileSync(join(node.folder, "back.bin")).equals(bytes)).toBe(true);
  });

  unless(missing)("logs: all, the last lines, with times, of the run before, until the end", async () => {
    const script = "echo one; echo two; echo three; [ -e /e/again ] && exec sleep 1000; : >/e/again; exit 1";
    await node.create(
      podDraft("talks", {
        containers: [{ ...shell(script), volumeMounts: [{ name: "e", mountPath: "/e" }] }],
        volumes: [{ name: "e", emptyDir: {} }],
      }),
    );
    await node.seen("talks", (pod) => pod.status?.containerStatuses?.[0]?.restartCount === 1);
    const logs = async (...words: string[]): Promise<string> => (await k(["logs", "talks", ...words])).stdout;

    expect(await logs("--previous")).toBe("one\ntwo\nthree\n");
    expect(await logs("--previous", "--tail=1")).toBe("three\n");
    expect(await logs("--previous", "--tail=0")).toBe("");
    expect(await logs("--previous", "--limit-bytes=5")).toBe("one\nt");
    expect(await logs("--previous", "--since-time=2999-01-01T00:00:00Z")).toBe("");
    expect(await logs("--previous", "--since=1h", "--timestamps", "--tail=1")).toMatch(
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z three\n$/,
    );
    expect((await k(["logs", "box", "--previous"])).stderr).toContain(
      'previous terminated container "main" in pod "box" not found',
    );
    const following = run(kubectl ?? "kubectl", ["logs", "-f", "talks"], undefined, (stdout) => {
      if (stdout.endsWith("three\n")) void k(["delete", "pod", "talks", "--grace-period=0", "--force"]);
    });
    expect(await following).toMatchObject({ code: 0, stdout: "one\ntwo\nthree\n" });
  });

  unless(missing)(
    "an image from an OCI layout: its command, variables, user and folder; probes, exec and cp in it",
    async () => {
      const container = {
        name: "main",
        image: "quay.io/team/tool:2",
        readinessProbe: { exec: { command: ["cat", "/data/text"] }, periodSeconds: 1 },
        volumeMounts: [{ name: "e", mountPath: "/scratch" }],
      };
      await node.create(podDraft("tool", { containers: [container], volumes: [{ name: "e", emptyDir: {} }] }));
      const pod = await node.seen("tool", (each) => each.status?.containerStatuses?.[0]?.ready === true);
      writeFileSync(join(node.folder, "sent"), "there and back");

      const said = await k(["exec", "tool", "--", "env"]);
      const there = await k(["cp", join(node.folder, "sent"), "tool:/scratch/f"]);
      const back = await k(["cp", "tool:/scratch/f", join(node.folder, "received")]);

      const log = "uid=1000(app) gid=1001 groups=1001,44(extra)\n/tmp/work\nred\nfrom the image\nnot mine\n";
      expect((await k(["logs", "tool"])).stdout).toBe(log);
      expect(pod.status?.containerStatuses?.[0]?.imageID).toMatch(/^sha256:[0-9a-f]{64}$/);
      expect(said.stdout).toContain("COLOR=red\n");
      expect([there.code, back.code]).toEqual([0, 0]);
      expect(readFileSync(join(node.folder, "received"), "utf8")).toBe("there and back");
    },
  );

  unless(missing)("port-forward: a connection to the pod's port, and back", async () => {
    const program = "require('net').createServer(s=>s.end('hello')).listen(7070,'127.0.0.1',()=>console.log('up'))";
    await node.create(podDraft("server", { containers: [{ name: "main", image: "node", args: ["-e", program] }] }));
    await expect.poll(async () => (await k(["logs", "server"])).stdout, { timeout: 30_000 }).toBe("up\n");
    const forward = spawn(kubectl ?? "kubectl", ["port-forward", "server", ":7070"], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, KUBECONFIG: kubeconfig },
    });
    const port = await new Promise<number>((resolve) =>
      forward.stdout.on("data", (text: Buffer) => resolve(Number(/127\.0\.0\.1:(\d+)/.exec(text.toString())?.[1]))),
    );
    let said = "";
    for await (const chunk of connect(port, "127.0.0.1")) said += String(chunk);
    forward.kill();

    expect(said).toBe("hello");
  });

  unless(missing)("debug: an ephemeral container in the pod's network, with a terminal", async () => {
    const line = `${kubectl} debug -it box --image=shell --profile=general -- sh -c 'read go; echo host $(hostname); tty'`;
    const said = await run("script", ["-qec", line, "/dev/null"], "go\n");

    expect(said.stdout).toContain("host box");
    expect(said.stdout).toContain("/dev/pts/0");
  });
});
