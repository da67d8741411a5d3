import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { systemClock } from "../../../kernel/clock/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { unless } from "../../../testing/unless.js";
import { detectIsolation } from "../isolation/detect.js";
import { createPodNetwork } from "../network/index.js";
import type { PodNetwork } from "../network/types.js";
import { type OpenRuntime, runtimeHomes } from "./runtimes.fixture.js";
import type { ContainerSpec, PodRuntime } from "./types.js";

const isolation = detectIsolation();

describe.each(runtimeHomes)("$name", ({ name, missing, open }) => {
  let folder = "";
  let network: PodNetwork;
  let home: OpenRuntime;
  let runtime: PodRuntime;

  beforeAll(async () => {
    if (missing !== undefined) return;
    folder = mkdtempSync(join(tmpdir(), "argosy-runtime-"));
    network = createPodNetwork({ dataDir: join(folder, "network"), isolation, log: silentLogger });
    await network.start();
    mkdirSync(join(folder, "volume3"));
    writeFileSync(join(folder, "volume3", "g"), "g\n");
    home = await open({ folder, isolation, network });
    runtime = newRuntime();
    await runtime.start();
  });

  afterAll(async () => {
    if (missing !== undefined) return;
    await runtime.close({ keepPods: false });
    await home.close();
    await network.close({ keepPods: false });
    rmSync(folder, { recursive: true, force: true });
  });

  function newRuntime(): PodRuntime {
    return home.make(join(folder, "node"));
  }

  function spec(podUid: string, command: string[], more: Partial<ContainerSpec> = {}): ContainerSpec {
    return {
      podUid,
      name: "main",
      attempt: 0,
      image: "sh",
      imageId: "sh",
      command,
      env: [["PATH", "/usr/bin:/bin"]],
      workingDir: "/",
      mounts: [],
      imagePaths: command[0] === process.execPath ? [dirname(process.execPath)] : [],
      limits: {},
      user: {},
      stdin: false,
      terminationMessagePath: "/dev/termination-log",
      annotations: {},
      ...more,
    };
  }

  function pod(uid: string): Parameters<PodRuntime["createPod"]>[0] {
    return { uid, namespace: "default", name: uid, hostname: uid, hostNetwork: false };
  }

  async function ended(uid: string, container = "main"): Promise<ReturnType<PodRuntime["containers"]>[number]> {
    const find = () =>
      runtime
        .containers(uid)
        .filter((each) => each.name === container && each.state === "exited")
        .at(-1);
    return new Promise((resolve) => {
      const check = (): void => {
        const record = find();
        if (record === undefined) return;
        stop();
        resolve(record);
      };
      const stop = runtime.onChange(check);
      queueMicrotask(check);
    });
  }

  async function logOf(uid: string, options: Parameters<PodRuntime["logs"]>[1] = {}): Promise<string> {
    let text = "";
    for await (const chunk of runtime.logs({ podUid: uid, name: "main", attempt: 0 }, options))
      text += Buffer.from(chunk).toString();
    return text;
  }

  unless(missing)("runs a program with its environment, volumes, address and exit code", async () => {
    const volume = join(folder, "volume");
    mkdirSync(volume);
    writeFileSync(join(volume, "greeting"), "hello\n");
    await runtime.createPod(pod("p1"));

    const script = [
      'echo "$GREETING|$(cat /mnt/new/place/greeting)|$(hostname)|$$"',
      "touch /mnt/new/place/x 2>/dev/null || echo read-only",
      "touch /usr/x 2>/dev/null || echo usr-read-only",
      `ls ${folder} 2>/dev/null | wc -l`,
      "echo done >/dev/termination-log; touch /tmp/a /var/b /c; exit 3",
    ].join("; ");
    await runtime.startContainer(
      spec("p1", ["sh", "-c", script], {
        env: [
          ["PATH", "/usr/bin:/bin"],
          ["GREETING", "it's $HOME"],
          ["odd.name", "1"],
        ],
        mounts: [{ containerPath: "/mnt/new/place", hostPath: volume, readOnly: true }],
      }),
    );
    const record = await ended("p1");

    expect(await logOf("p1")).toMatch(/^it's \$HOME\|hello\|p1\|\d\nread-only\nusr-read-only\n0\n$/);
    expect(record).toMatchObject({ exitCode: 3, reason: "Error" });
    expect(await runtime.terminationMessage(record)).toBe("done\n");
    expect(existsSync("/c")).toBe(false);
  });

  unless(missing)("mounts where the machine has no such folder, also below read-only ones", async () => {
    const volume = join(folder, "volume2");
    mkdirSync(volume);
    writeFileSync(join(volume, "f"), "inside\n");
    await runtime.createPod(pod("p2"));

    await runtime.startContainer(
      spec(
        "p2",
        [
          "sh",
          "-c",
          "cat /usr/share/argosy-test/data/f /etc/argosy/f /f; ls /usr/share/zoneinfo >/dev/null && command -v ls",
        ],
        {
          mounts: [
            { containerPath: "/usr/share/argosy-test/data", hostPath: volume, readOnly: false },
            { containerPath: "/etc/argosy", hostPath: volume, readOnly: false },
            { containerPath: "/f", hostPath: join(volume, "f"), readOnly: true },
          ],
        },
      ),
    );
    await ended("p2");

    expect(await logOf("p2")).toBe("inside\ninside\ninside\n/usr/bin/ls\n");
  });

  unless(missing)("says why a program cannot be started", async () => {
    await runtime.createPod(pod("p3"));

    const starting = runtime.startContainer(spec("p3", ["no-such-program"]));

    await expect(starting).rejects.toThrow('exec: "no-such-program": executable file not found in $PATH');
    expect(runtime.containers("p3")[0]).toMatchObject({ state: "exited", exitCode: 128, reason: "StartError" });
  });

  unless(missing)("stops with TERM, and with KILL after the grace", async () => {
    await runtime.createPod(pod("p4"));
    const loop = "echo up; while :; do sleep 0.01; done";
    await runtime.startContainer(spec("p4", ["sh", "-c", `trap 'exit 9' TERM; ${loop}`]));
    await runtime.startContainer(spec("p4", ["sh", "-c", `trap '' TERM; ${loop}`], { name: "deaf" }));
    for (const container of ["main", "deaf"]) {
      for await (const chunk of runtime.logs({ podUid: "p4", name: container, attempt: 0 }, { follow: true }))
        if (Buffer.from(chunk).toString().includes("up")) break;
    }

    await runtime.stopContainer({ podUid: "p4", name: "main", attempt: 0 }, 30_000);
    await runtime.stopContainer({ podUid: "p4", name: "deaf", attempt: 0 }, 50);

    const [main, deaf] = runtime.containers("p4");
    expect(main).toMatchObject({ state: "exited", exitCode: 9 });
    expect(deaf).toMatchObject({ state: "exited", exitCode: 137 });
  });

  unless(
    missing ?? (name === "process" ? undefined : "the first process of a container gets only signals that it handles"),
  )("a program that handles no signals ends by TERM", async () => {
    await runtime.createPod(pod("pt"));
    await runtime.startContainer(spec("pt", ["sleep", "1000"]));
    const ref = { podUid: "pt", name: "main", attempt: 0 };
    await runtime.stopContainer(ref, 30_000);

    expect(runtime.containers("pt")[0]).toMatchObject({ state: "exited", exitCode: 143 });
  });

  unless(missing)("runs commands beside the program, in its place", async () => {
    await runtime.createPod(pod("p5"));
    await runtime.startContainer(
      spec("p5", ["sleep", "1000"], {
        env: [
          ["PATH", "/usr/bin:/bin"],
          ["SECRET", "s3"],
        ],
        workingDir: "/tmp/w",
      }),
    );

    const ref = { podUid: "p5", name: "main", attempt: 0 };
    const session = await runtime.exec(ref, {
      command: ["sh", "-c", "pwd; echo $SECRET; cat; echo err >&2; exit 7"],
      tty: false,
      stdin: true,
    });
    let out = "";
    let err = "";
    session.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
    session.stderr?.on("data", (chunk: Buffer) => (err += chunk.toString()));
    session.stdin?.end("input\n");
    const code = await session.exited;

    expect({ out, err, code }).toEqual({ out: "/tmp/w\ns3\ninput\n", err: "err\n", code: 7 });
  });

  unless(missing)("gives a terminal where the machine can", async () => {
    const ref = { podUid: "p5", name: "main", attempt: 0 };
    const session = await runtime.exec(ref, {
      command: ["sh", "-c", "test -t 0 && test -t 1 && echo terminal"],
      tty: true,
      stdin: true,
    });
    let out = "";
    session.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));

    expect(await session.exited).toBe(0);
    expect(out).toContain("terminal");
  });

  unless(missing)(
    "an attached client types and reads; the next one goes on, or the input ends with the first",
    async () => {
      const program = ["sh", "-c", "while read line; do echo got $line; done; echo over"];
      const ref = (container: string) => ({ podUid: "pc", name: container, attempt: 0 });
      const type = async (container: string, text: string, seen: string): Promise<void> => {
        const session = await runtime.attach(ref(container), { stdin: true });
        session.stdin?.write(text);
        for await (const chunk of session.stdout) if (String(chunk).includes(seen)) break;
        session.kill();
      };
      await runtime.createPod(pod("pc"));
      await runtime.startContainer(spec("pc", program, { name: "open", stdin: true }));
      await runtime.startContainer(spec("pc", program, { name: "once", stdin: true, stdinOnce: true }));
      await runtime.startContainer(spec("pc", program, { name: "terminal", stdin: true, tty: true }));

      await type("open", "one\n", "got one");
      await type("open", "two\n", "got two");
      await type("once", "three\n", "got three");
      await type("terminal", "four\n", "got four");
      await ended("pc", "once");

      const states = runtime.containers("pc").map((each) => [each.name, each.state]);
      expect(states).toEqual([
        ["open", "running"],
        ["once", "exited"],
        ["terminal", "running"],
      ]);
      await expect(runtime.attach(ref("once"), { stdin: true })).rejects.toThrow('container "once" is not running');
    },
  );

  unless(missing)("a new runtime adopts what runs and learns how the rest ended", async () => {
    await runtime.createPod(pod("p6"));
    await runtime.startContainer(spec("p6", ["sleep", "1000"]));
    await runtime.startContainer(
      spec("p6", ["sh", "-c", "read x </tmp/go; exit 5"], {
        name: "other",
        mounts: [{ containerPath: "/tmp/go", hostPath: fifo(), readOnly: false }],
      }),
    );
    const before = runtime.containers("p6").find((each) => each.name === "main");

    await runtime.close({ keepPods: true });
    writeFileSync(join(folder, "go"), "x\n");
    await until(() => home.hasEnded(join(folder, "node"), { podUid: "p6", name: "other", attempt: 0 }));
    runtime = newRuntime();
    await runtime.start();

    expect(runtime.containers("p6").find((each) => each.name === "main")).toMatchObject({
      state: "running",
      startedAtMs: before?.startedAtMs,
    });
    expect(runtime.containers("p6").find((each) => each.name === "other")).toMatchObject({
      state: "exited",
      exitCode: 5,
      reason: "Error",
    });
    const session = await runtime.exec(
      { podUid: "p6", name: "main", attempt: 0 },
      { command: ["true"], tty: false, stdin: false },
    );
    session.stdout.resume();
    session.stderr?.resume();
    expect(await session.exited).toBe(0);
  });

  unless(missing ?? (isolation.cgroup === undefined ? "no control group may be made here" : undefined))(
    "a program that uses too much memory is OOMKilled",
    async () => {
      await runtime.createPod(pod("p7"));
      const program = "const a=[];for(;;)a.push(Buffer.alloc(8<<20,1))";
      await runtime.startContainer(
        spec("p7", [process.execPath, "-e", program], { limits: { memoryBytes: 96 * 1024 * 1024 } }),
      );

      expect(await ended("p7")).toMatchObject({ exitCode: 137, reason: "OOMKilled" });
    },
  );

  unless(missing)("a container whose watcher was killed ends with it, and nobody knows how", async () => {
    await runtime.createPod(pod("pk"));
    await runtime.startContainer(spec("pk", ["sleep", "1000"]));
    const ref = { podUid: "pk", name: "main", attempt: 0 };
    const keeper = home.keeperOf(join(folder, "node"), ref);
    expect(keeper).toBeGreaterThan(1);
    process.kill(keeper, "SIGKILL");

    // Nobody writes a word: the next runtime sees it.
    await runtime.close({ keepPods: true });
    runtime = newRuntime();
    await runtime.start();

    expect(await ended("pk")).toMatchObject({ exitCode: 137, reason: "ContainerStatusUnknown" });
    await expect(runtime.exec(ref, { command: ["true"], tty: false, stdin: false })).rejects.toThrow("is not running");
  });

  unless(missing)("logs can be followed, cut and dated", async () => {
    await runtime.createPod(pod("p8"));
    await runtime.startContainer(
      spec("p8", ["sh", "-c", "echo 1; echo 2; read x </tmp/go; echo 3; echo 4"], {
        mounts: [{ containerPath: "/tmp/go", hostPath: fifo(), readOnly: false }],
      }),
    );
    const follow = logOf("p8", { follow: true });
    writeFileSync(join(folder, "go"), "x\n");

    expect(await follow).toBe("1\n2\n3\n4\n");
    expect(await logOf("p8", { tailLines: 2 })).toBe("3\n4\n");
    expect(await logOf("p8", { timestamps: true, tailLines: 1 })).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z 4\n$/);
    expect(await logOf("p8", { sinceMs: systemClock.now() + 1000 })).toBe("");
    expect(await logOf("p8", { limitBytes: 3 })).toBe("1\n2");
  });

  unless(missing)("an image with a root of its own is that root, unchanged by the program", async () => {
    const image = join(folder, "image");
    for (const name of ["usr", "etc", "app"]) mkdirSync(join(image, name), { recursive: true });
    writeFileSync(join(image, "app", "f"), "from the image\n");
    // Enough to run: the machine's own programs, shown to the image as if they were its own.
    for (const [name, target] of [
      ["bin", "usr/bin"],
      ["lib", "usr/lib"],
      ["lib64", "usr/lib64"],
    ] as const)
      symlinkSync(target, join(image, name));
    await runtime.createPod(pod("pi"));

    await runtime.startContainer(
      spec(
        "pi",
        ["/bin/sh", "-c", "cat /app/f; echo changed >/app/f; cat /app/f /new/g; ls -d /home 2>&1 | grep -c No"],
        {
          imageRoot: image,
          mounts: [
            { containerPath: "/usr", hostPath: "/usr", readOnly: true },
            { containerPath: "/new", hostPath: join(folder, "volume3"), readOnly: false },
          ],
        },
      ),
    );
    await ended("pi");

    expect(await logOf("pi")).toBe("from the image\nchanged\ng\n1\n");
    expect(readFileSync(join(image, "app", "f"), "utf8")).toBe("from the image\n");
  });

  unless(missing)("keeps the pod's own rights small", async () => {
    await runtime.createPod(pod("p9"));
    await runtime.startContainer(
      spec("p9", ["sh", "-c", "grep -E 'CapBnd|NoNewPrivs' /proc/self/status; id -u; id -g; cat /etc/shadow"], {
        user: { uid: 1000, gid: 1001, allowPrivilegeEscalation: false, dropCapabilities: ["ALL"] },
      }),
    );
    await ended("p9");

    const log = await logOf("p9");
    expect(log).toContain("NoNewPrivs:\t1");
    expect(log).toContain("1000\n1001\n");
    expect(log).toMatch(/shadow: (No such file|Permission denied)/);
  });

  unless(
    missing ??
      (isolation.hasNetworkNamespace ? undefined : "pods share the machine's network here (argosy doctor says why)"),
  )("each pod has an address of its own and reaches the machine", async () => {
    const first = await runtime.createPod(pod("pa"));
    const second = await runtime.createPod(pod("pb"));
    const server = "require('net').createServer(s=>s.end('from '+process.env.N)).listen(7000,()=>console.log('up'))";
    for (const [uid, name] of [
      ["pa", "a"],
      ["pb", "b"],
    ] as const) {
      await runtime.startContainer(spec(uid, [process.execPath, "-e", server], { env: [["N", name]] }));
      for await (const chunk of runtime.logs({ podUid: uid, name: "main", attempt: 0 }, { follow: true }))
        if (Buffer.from(chunk).toString().includes("up")) break;
    }

    const connection = await runtime.dial("pb", 7000);
    let said = "";
    for await (const chunk of connection) said += String(chunk);
    const client = `require('net').connect(7000,'${second.ip}').on('data',d=>process.stdout.write(d)).on('close',()=>process.exit())`;
    const session = await runtime.exec(
      { podUid: "pa", name: "main", attempt: 0 },
      { command: [process.execPath, "-e", client], tty: false, stdin: false },
    );
    let out = "";
    session.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
    await session.exited;

    expect(first.ip).not.toBe(second.ip);
    expect([said, out]).toEqual(["from b", "from b"]);
  });

  /** Resolves when it holds; fails after 10 s. */
  async function until(holds: () => boolean): Promise<void> {
    for (const end = performance.now() + 10_000; !holds(); ) {
      if (performance.now() > end) throw new Error("it did not come true");
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** A named pipe that lets a program wait for the test. */
  function fifo(): string {
    const path = join(folder, "go");
    if (!existsSync(path)) execFileSync("mkfifo", ["-m", "666", path]);
    return path;
  }
});
