import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { exec } from "../../kernel/client/index.js";
import { type Pod, PodKind, type PodSpec } from "../../kernel/kinds/index.js";
import { unless } from "../../testing/unless.js";
import { podDraft, shell, startNode, type TestNode } from "./agent.fixture.js";
import { detectIsolation } from "./index.js";
import { runtimeHomes } from "./runtime/runtimes.fixture.js";

const isolation = detectIsolation();

describe.each(runtimeHomes)("$name", ({ name: runtime, missing: noPods }) => {
  const noRoot = noPods ?? (isolation.mode === "root" ? undefined : "needs Argosy to run as root");
  let node: TestNode;

  beforeAll(async () => {
    if (noPods === undefined) node = await startNode({ isolation, runtime });
  });
  afterAll(() => node?.close());

  const ended = (pod: Pod): boolean => pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
  const running = (pod: Pod): boolean => pod.status?.containerStatuses?.every((each) => each.ready) === true;

  /** Runs a script in a pod to its end; what it said. */
  async function output(
    name: string,
    script: string,
    spec: Partial<PodSpec> & Record<string, unknown> = {},
  ): Promise<string> {
    const { container = {}, ...rest } = spec;
    const main = { ...shell(script), ...(container as object) };
    await node.create(podDraft(name, { restartPolicy: "Never", containers: [main], ...rest }));
    await node.seen(name, ended);
    return node.logs(name);
  }

  /** Starts a container, stops it when it has said `up`, and returns all that it said. */
  async function stopped(name: string, container: PodSpec["containers"][number]): Promise<string> {
    // Only Linux has such signals, and a loaded machine is slow to stop.
    const more = { os: { name: "linux" }, terminationGracePeriodSeconds: 60 };
    await node.create(podDraft(name, { restartPolicy: "Never", containers: [container], ...more }));
    await node.seen(name, running);
    await expect.poll(() => node.logs(name), { timeout: 20_000 }).toContain("up");
    const patch = { spec: { activeDeadlineSeconds: 1 } };
    await node.cluster.client.resource(PodKind).patch(name, "merge", patch, { namespace: "default" });
    await node.seen(name, ended);
    return node.logs(name);
  }

  unless(noPods)("names: full host name, aliases, resolver of its own", async () => {
    const said = await output(
      "names",
      "hostname; echo $HOSTNAME; cat /etc/resolv.conf; grep -c '10.1.2.3 one two' /etc/hosts",
      {
        hostname: "h",
        subdomain: "sub",
        setHostnameAsFQDN: true,
        hostAliases: [{ ip: "10.1.2.3", hostnames: ["one", "two"] }],
        dnsPolicy: "None",
        dnsConfig: {
          nameservers: ["10.9.8.7"],
          searches: ["a.b"],
          options: [{ name: "ndots", value: "2" }, { name: "rotate" }],
        },
      },
    );

    const full = "h.sub.default.svc.cluster.local";
    expect(said).toBe(`${full}\n${full}\nsearch a.b\nnameserver 10.9.8.7\noptions ndots:2 rotate\n1\n`);
  });

  unless(noPods)("a full host name that the kernel does not take is refused", async () => {
    await node.create(
      podDraft("longname", {
        containers: [shell("true")],
        hostname: "h".repeat(60),
        subdomain: "sub",
        setHostnameAsFQDN: true,
      }),
    );
    const pod = await node.seen("longname", (each) => each.status?.containerStatuses !== undefined);

    expect(pod.status?.phase).toBe("Pending");
    expect((await node.events("longname")).get("FailedCreatePodSandBox")).toContain(
      "is too long (64 characters is the max",
    );
  });

  unless(noPods)("parts of /proc are masked, unless the container may see them", async () => {
    const script =
      "head -c1 /proc/timer_list 2>/dev/null | wc -c; (echo 1 >/proc/sys/kernel/printk) 2>/dev/null || echo read-only";

    expect(await output("masked", script)).toBe("0\nread-only\n");
  });

  unless(noRoot)("a privileged container has all capabilities and the machine's devices", async () => {
    const script =
      "grep CapBnd /proc/self/status; ls /dev | wc -l; (: >/proc/sys/kernel/printk_delay) 2>/dev/null && echo writable";
    const plain = await output("plain", script);
    const privileged = await output("privileged", script, { container: { securityContext: { privileged: true } } });
    const machine = readFileSync("/proc/self/status", "utf8");

    expect(privileged.split("\n")[0]).toBe(/CapBnd.*/.exec(machine)?.[0]);
    expect(Number(privileged.split("\n")[1])).toBeGreaterThanOrEqual(Number(plain.split("\n")[1]));
    expect(privileged).toContain("writable");
    expect(plain).not.toContain("writable");
  });

  unless(noRoot)("sysctls of the pod's own namespaces are set", async () => {
    const said = await output(
      "sysctls",
      "cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/kernel/shm_rmid_forced",
      {
        securityContext: {
          sysctls: [
            { name: "net.ipv4.ip_local_port_range", value: "2000 3000" },
            { name: "kernel.shm_rmid_forced", value: "1" },
          ],
        },
      },
    );

    expect(said).toBe("2000\t3000\n1\n");
  });

  unless(noPods)("hostPID and hostIPC: the machine's processes and objects", async () => {
    const said = await output("host", `cat /proc/${process.pid}/comm; readlink /proc/self/ns/ipc`, {
      hostPID: true,
      hostIPC: true,
    });
    const own = await output("own", "ls -d /proc/[0-9]* | wc -l; readlink /proc/self/ns/ipc");
    const ipc = execFileSync("readlink", ["/proc/self/ns/ipc"], { encoding: "utf8" });

    expect(said).toBe(`${readFileSync(`/proc/${process.pid}/comm`, "utf8")}${ipc}`);
    expect(own).not.toContain(ipc.trim());
    if (isolation.hasPidNamespace) expect(Number(own.split("\n")[0])).toBeLessThan(10);
  });

  unless(noPods)("a pod with hostPID ends with all its processes", async () => {
    await node.create(podDraft("hostend", { hostPID: true, containers: [shell("sleep 987654 & sleep 987654")] }));
    await node.seen("hostend", running);
    await node.cluster.client.transport.request({ method: "DELETE", path: "/api/v1/namespaces/default/pods/hostend" });
    await node.gone("hostend");
    const left = execFileSync("sh", ["-c", "grep -lsz 98765[4] /proc/[0-9]*/cmdline || true"], { encoding: "utf8" });

    expect(left.split("\n").filter((line) => line !== "" && !line.includes("self"))).toEqual([]);
  });

  unless(noPods)("the stop signal is the one that the container names", async () => {
    const lifecycle: object = { stopSignal: "SIGUSR1" };
    const script =
      'trap "echo usr1; exit 5" USR1; trap "echo term; exit 6" TERM; echo up; while :; do sleep 0.05; done';

    expect(await stopped("stopsignal", { ...shell(script), lifecycle })).toBe("up\nusr1\n");
  });

  unless(noRoot)("a group's volume: claims, memory and files belong to it", async () => {
    const said = await output("groups", "id -G; stat -c '%g %a' /e /c/f; touch /c/new; stat -c %g /c/new", {
      securityContext: { fsGroup: 4321, supplementalGroups: [99], runAsUser: 1000, runAsGroup: 7 },
      volumes: [
        { name: "e", emptyDir: {} },
        {
          name: "c",
          ephemeral: {
            volumeClaimTemplate: {
              spec: {
                accessModes: ["ReadWriteOnce"],
                storageClassName: "local",
                resources: { requests: { storage: "1Mi" } },
              },
            },
          },
        },
      ],
      initContainers: [
        {
          name: "init",
          image: "shell",
          command: ["sh", "-c", "touch /c/f"],
          volumeMounts: [{ name: "c", mountPath: "/c" }],
        },
      ],
      container: {
        volumeMounts: [
          { name: "e", mountPath: "/e" },
          { name: "c", mountPath: "/c" },
        ],
      },
    });

    const [groups, folder, file, fresh] = said.split("\n");
    expect(groups?.split(" ").sort()).toEqual(["4321", "7", "99"]);
    expect(folder).toBe("4321 2777");
    expect(file?.split(" ")[0]).toBe("4321");
    expect(fresh).toBe("4321");
  });

  unless(noRoot)("a read-only volume is read-only below too where it is asked for", async () => {
    const volume = mkdtempSync(join(tmpdir(), "argosy-rro-"));
    mkdirSync(join(volume, "below"));
    execFileSync("mount", ["-t", "tmpfs", "none", join(volume, "below")]);
    try {
      const mount = { name: "v", mountPath: "/v", readOnly: true };
      const run = (name: string, more: object): Promise<string> =>
        output(name, "touch /v/a 2>/dev/null || echo top; touch /v/below/a 2>/dev/null || echo below", {
          volumes: [{ name: "v", hostPath: { path: volume } }],
          container: { volumeMounts: [{ ...mount, ...more }] },
        });

      expect(await run("rro-plain", {})).toBe("top\n");
      expect(await run("rro-all", { recursiveReadOnly: "Enabled" })).toBe("top\nbelow\n");
    } finally {
      execFileSync("umount", [join(volume, "below")]);
      rmSync(volume, { recursive: true });
    }
  });

  unless(noRoot)("what the machine mounts later shows where the container wants to follow", async () => {
    const volume = mkdtempSync(join(tmpdir(), "argosy-follow-"));
    mkdirSync(join(volume, "below"));
    // Mounts are told to other namespaces only from where they are shared.
    execFileSync("mount", ["--bind", volume, volume]);
    execFileSync("mount", ["--make-shared", volume]);
    try {
      const container = (name: string, mountPropagation: string) => ({
        ...shell("until [ -e /e/go ]; do sleep 0.05; done; ls /v/below"),
        name,
        volumeMounts: [
          { name: "v", mountPath: "/v", mountPropagation },
          { name: "e", mountPath: "/e" },
        ],
      });
      const go = mkdtempSync(join(tmpdir(), "argosy-go-"));
      await node.create(
        podDraft("follow", {
          restartPolicy: "Never",
          containers: [container("follows", "HostToContainer"), container("stays", "None")],
          volumes: [
            { name: "v", hostPath: { path: volume } },
            { name: "e", hostPath: { path: go } },
          ],
        }),
      );
      await node.seen("follow", running);
      execFileSync("mount", ["-t", "tmpfs", "none", join(volume, "below")]);
      writeFileSync(join(volume, "below", "late"), "");
      writeFileSync(join(go, "go"), "");
      await node.seen("follow", ended);
      rmSync(go, { recursive: true });

      expect(await node.logs("follow", "?container=follows")).toBe("late\n");
      expect(await node.logs("follow", "?container=stays")).toBe("");
    } finally {
      execFileSync("umount", ["-R", volume]);
      rmSync(volume, { recursive: true });
    }
  });

  unless(noPods)("exec -t: a terminal, of the size that the client says", async () => {
    await node.create(podDraft("tty", { containers: [shell("exec sleep 1000")] }));
    await node.seen("tty", running);
    const stdin = new PassThrough();
    const sizes = new PassThrough({ objectMode: true });
    let text = "";
    sizes.write({ width: 101, height: 33 });
    const { exitCode } = await exec(node.cluster.client, {
      namespace: "default",
      pod: "tty",
      tty: true,
      stdin,
      sizes,
      stdout: (data) => {
        text += Buffer.from(data).toString("utf8");
        if (text.includes("33 101") && !sizes.writableEnded) sizes.end({ width: 70, height: 20 });
        if (text.includes("resized") && !stdin.writableEnded) stdin.end("typed\n");
      },
      command: [
        "sh",
        "-c",
        'tty; stty size; until [ "$(stty size)" = "20 70" ]; do sleep 0.05; done; echo resized $TERM; read l; echo "<$l>"; exit 7',
      ],
    });

    // What is typed shows, as on every terminal.
    expect(text).toBe("/dev/pts/0\r\n33 101\r\nresized xterm\r\ntyped\r\n<typed>\r\n");
    expect(exitCode).toBe(7);
  });

  unless(noPods)("a container with tty and stdin has a terminal, and stops with TERM", async () => {
    const script = 'trap "echo bye; exit 4" TERM; tty; echo up; while :; do sleep 0.05; done';

    expect(await stopped("term", { ...shell(script), tty: true, stdin: true })).toBe("/dev/pts/0\r\nup\r\nbye\r\n");
    const pod = await node.seen("term", ended);
    expect(pod.status?.containerStatuses?.[0]?.state?.terminated?.exitCode).toBe(4);
  });

  unless(noPods)("a program that is not there is said so by exec", async () => {
    let text = "";
    const stderr = (data: Uint8Array): void => {
      text += Buffer.from(data).toString("utf8");
    };
    const { exitCode } = await exec(node.cluster.client, {
      namespace: "default",
      pod: "tty",
      stderr,
      command: ["no-such-program"],
    });

    expect(text).toBe('exec: "no-such-program": executable file not found in $PATH\n');
    expect(exitCode).toBe(127);
  });

  unless(noPods)("the status tells what was mounted and given", async () => {
    await node.create(
      podDraft("told", {
        containers: [
          {
            ...shell("exec sleep 1000"),
            resources: { requests: { cpu: "10m" }, limits: { memory: "64Mi" } },
            volumeMounts: [{ name: "e", mountPath: "/e", readOnly: true }],
          },
        ],
        volumes: [{ name: "e", emptyDir: {} }],
      }),
    );
    const { status } = await node.seen("told", running);

    expect(status).toMatchObject({ observedGeneration: 1 });
    expect(status?.containerStatuses?.[0]).toMatchObject({
      allocatedResources: { cpu: "10m", memory: "64Mi" },
      user: { linux: { uid: 0, gid: 0, supplementalGroups: [0] } },
      resources: { requests: { cpu: "10m", memory: "64Mi" }, limits: { memory: "64Mi" } },
      volumeMounts: expect.arrayContaining([
        { name: "e", mountPath: "/e", readOnly: true, recursiveReadOnly: "Disabled" },
      ]),
    });
  });

  unless(noPods)("volumes from outside are refused by an event that says what to do", async () => {
    await node.create(
      podDraft("nfs", {
        containers: [shell("true")],
        volumes: [{ name: "v", nfs: { server: "s", path: "/" } }],
      }),
    );
    const pod = await node.seen("nfs", (each) => each.status?.containerStatuses?.[0]?.state?.waiting !== undefined);

    expect(pod.status?.phase).toBe("Pending");
    expect(pod.status?.containerStatuses?.[0]?.state?.waiting?.reason).toBe("CreateContainerConfigError");
    await expect.poll(async () => (await node.events("nfs")).get("FailedMount")).toContain("spec.volumes[v].nfs: ");
  });

  unless(noPods)("how containers ended: by signals, by their messages, for want of memory", async () => {
    const container = (name: string, script: string, more: object = {}) => ({ ...shell(script), name, ...more });
    const eats = "node -e 'const a=[];for(;;)a.push(Buffer.alloc(1e7,1))'";
    const small = { resources: { limits: { memory: "64Mi" } } };
    await node.create(
      podDraft("ends", {
        restartPolicy: "Never",
        containers: [
          container("segv", "sh -c 'kill -11 $$$$'; exit $?"),
          container("message", "echo why >/tmp/m; exit 0", { terminationMessagePath: "/tmp/m" }),
          container("log", "seq 100; echo last; exit 4", { terminationMessagePolicy: "FallbackToLogsOnError" }),
          container("fine", "echo said; exit 0", { terminationMessagePolicy: "FallbackToLogsOnError" }),
          container("main", `exec ${eats}`, small),
          container("child", `${eats}; echo $?; exit 3`, small),
        ],
      }),
    );
    const pod = await node.seen("ends", ended);
    const of = (name: string) => pod.status?.containerStatuses?.find((each) => each.name === name)?.state?.terminated;

    expect(of("segv")).toMatchObject({ exitCode: 139, reason: "Error" });
    expect(of("message")).toMatchObject({ exitCode: 0, reason: "Completed", message: "why\n" });
    expect(of("log")?.message).toBe(`${Array.from({ length: 79 }, (_, index) => index + 22).join("\n")}\nlast\n`);
    expect(of("fine")).not.toHaveProperty("message");
    expect(of("main")).toMatchObject({ exitCode: 137, reason: "OOMKilled" });
    if (isolation.cgroup !== undefined) expect(of("child")).toMatchObject({ exitCode: 3, reason: "OOMKilled" });
  });

  unless(noPods)("a pod that has written more than it may is evicted", async () => {
    const fills = { ...shell("dd if=/dev/zero of=/e/big bs=1M count=3 2>/dev/null"), name: "fills" };
    const mounts = { volumeMounts: [{ name: "e", mountPath: "/e" }] };
    await node.create(
      podDraft("full", {
        initContainers: [{ ...fills, ...mounts }],
        containers: [{ ...shell("exec sleep 1000"), ...mounts }],
        volumes: [{ name: "e", emptyDir: { sizeLimit: "1Mi" } }],
      }),
    );
    const { status } = await node.seen("full", ended);

    expect(status).toMatchObject({
      reason: "Evicted",
      message: 'Usage of EmptyDir volume "e" exceeds the limit "1Mi". ',
    });
    expect(status?.conditions?.find((each) => each.type === "DisruptionTarget")?.reason).toBe("TerminationByKubelet");
  });

  unless(noPods)("a capability that does not exist is told as such", async () => {
    const securityContext = { capabilities: { add: ["NOPE"] } };
    await node.create(podDraft("caps", { containers: [{ ...shell("true"), securityContext }] }));
    const pod = await node.seen(
      "caps",
      (each) => each.status?.containerStatuses?.[0]?.state?.waiting?.message !== undefined,
    );

    expect(pod.status?.containerStatuses?.[0]?.state?.waiting?.message).toContain('capability "NOPE"');
  });
});
