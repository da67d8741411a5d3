import { mkdtempSync, writeFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { Agent, request } from "undici";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ApiClient } from "../src/kernel/client/types.js";
import { systemClock } from "../src/kernel/clock/index.js";
import { argosy, type Finished, type Running, runProgram, startArgosy } from "./support/argosy.js";
import {
  addressesIn,
  askUntil,
  clientOf,
  gatewayProcessOf,
  mainProcessOf,
  type Prediction,
  tokenOf,
  uploadArtifact,
} from "./support/fleet.js";
import { eventually, within } from "./support/polling.js";
import { listenersOf, modelServerOf, processesOf, residentMiB } from "./support/processes.js";

// One fleet with the digits model served; every test leaves it whole for the next.
const data = mkdtempSync(join(tmpdir(), "argosy-faults-"));
const onFleet = (...words: string[]): Promise<Finished> => argosy(...words, "--data", data);
let fleet: Running;

interface Conditioned {
  readonly status?: {
    readonly conditions?: readonly { type: string; status: string; reason: string; message: string }[];
    readonly backends?: readonly { name: string; weightEffective: number; reason?: string; message?: string }[];
    readonly aggregatedStatus?: readonly { resource: { kind: string; name: string }; status?: ServiceStatus }[];
    readonly summary?: string;
  };
}

interface ServiceStatus {
  readonly releases: readonly { name: string; ready: boolean; reason?: string; message?: string }[];
  readonly conditions: readonly { type: string; status: string; reason: string; message: string }[];
}

interface PodList {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly uid: string };
    readonly status: {
      readonly podIP?: string;
      readonly containerStatuses?: readonly { readonly ready: boolean; readonly restartCount: number }[];
    };
  }[];
}

const read = async <T>(client: ApiClient, path: string): Promise<T> => (await client.json("GET", path)) as T;
const conditionOf = (object: Conditioned, type: string) =>
  object.status?.conditions?.find((condition) => condition.type === type);

beforeAll(async () => {
  fleet = startArgosy(["start", "--data", data]);
  await fleet.says("running; Ctrl-C");
}, 240_000);

afterAll(async () => {
  await onFleet("down");
  await runProgram("rm", ["-rf", data]);
}, 60_000);

describe("pods that cannot run", () => {
  const spec = (name: string, container: object): string =>
    JSON.stringify({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: "faults" },
      spec: { terminationGracePeriodSeconds: 0, containers: [{ name: "main", image: "node", ...container }] },
    });

  beforeAll(async () => {
    const file = join(data, "pods.yaml");
    const documents = [
      JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name: "faults" } }),
      spec("crash", {
        command: ["node", "-e", "console.error('cannot open the settings'); process.exit(7)"],
        terminationMessagePolicy: "FallbackToLogsOnError",
      }),
      spec("never-ready", {
        command: ["node", "-e", "setInterval(() => 0, 1e6)"],
        readinessProbe: { tcpSocket: { port: 8099 }, periodSeconds: 1 },
      }),
      spec("no-image", { image: "registry.example/absent:1" }),
      spec("too-large", { resources: { requests: { memory: "900Ti" } } }),
    ];
    writeFileSync(file, documents.join("\n---\n"));
    const applied = await onFleet("apply", "-f", file, "--context", "edge");
    expect(applied.code, applied.stderr).toBe(0);
  });

  afterAll(async () => {
    await onFleet("delete", "namespace", "faults", "--context", "edge");
  });

  const described = (pod: string, ...parts: readonly RegExp[]): Promise<string> => {
    let text = "";
    return eventually(
      `${pod} says ${parts.join(", ")}`,
      async () => {
        text = (await onFleet("describe", `pod/${pod}`, "-n", "faults", "--context", "edge")).stdout;
        return parts.every((part) => part.test(text)) ? text : undefined;
      },
      { boundMs: 40_000, seen: () => text },
    );
  };

  test("one that crashes says CrashLoopBackOff, its exit code and its last words", async () => {
    await described("crash", /CrashLoopBackOff/, /exitCode: 7/, /cannot open the settings/, /BackOff .*restarting/);
  }, 60_000);

  test("one that never becomes ready says what its probe was answered", async () => {
    await described("never-ready", /Unhealthy .*:8099/, /Ready +False +ContainersNotReady/, /running:/);
  }, 60_000);

  test("one with an unknown image says how to add it", async () => {
    await described("no-image", /ErrImagePull/, /registry\.example\/absent:1" is not in .*catalogue/, /images\.yaml/);
  }, 60_000);

  test("one that fits no node names the resource", async () => {
    await described("too-large", /Unschedulable/, /FailedScheduling .*Insufficient memory/);
  }, 60_000);
});

describe("a model file that is no ONNX", () => {
  const path = "/apis/tensorstack.dev/v1beta1/namespaces/digits/hypermlservices";

  interface Release {
    name: string;
    predictor: { storage: { s3: { uri: string } } };
  }

  interface Manifest {
    metadata: { name: string };
    spec: { releases: Release[] };
  }

  const find = (object: Conditioned, name: string): ServiceStatus | undefined =>
    object.status?.aggregatedStatus?.find(({ resource }) => resource.name === name && resource.kind === "MLService")
      ?.status;

  test("is named with its reason at the release and in the hub; the other release goes on", async () => {
    const hub = await clientOf(data, "hub");
    await uploadArtifact(data, "broken/model.onnx", "this is no model");
    const source = await read<{ spec: { workloads: { manifests: Manifest[] }[] } }>(hub, `${path}/digits`);
    const manifests = structuredClone(source.spec.workloads[1]?.manifests ?? []);
    const good = manifests.pop() as Manifest;
    const [release] = good.spec.releases as [Release];
    const bad = structuredClone(release);
    bad.predictor.storage.s3.uri = "s3://artifacts/broken/";
    const service = (name: string, releases: Release[]) => ({
      ...good,
      metadata: { name, namespace: "digits" },
      spec: { ...good.spec, releases },
    });
    const services = [service("mixed", [release, { ...bad, name: "v2" }]), service("broken", [bad])];
    await hub.json("POST", path, {
      apiVersion: "tensorstack.dev/v1beta1",
      kind: "HyperMLService",
      metadata: { name: "faulty", namespace: "digits" },
      spec: { workloads: [{ clusters: ["far-edge"], manifests: [...manifests, ...services] }] },
    } as never);

    let seen: unknown;
    const object = await eventually(
      "both services are told apart",
      async () => {
        const faulty = await read<Conditioned>(hub, `${path}/faulty`);
        seen = faulty.status;
        const [v1, v2] = find(faulty, "mixed")?.releases ?? [];
        const isTold = conditionOf(faulty, "Ready")?.message.includes("ONNX") === true;
        return v1?.ready === true && v2?.reason === "ModelLoadFailed" && isTold ? faulty : undefined;
      },
      { boundMs: 90_000, seen: () => seen },
    );
    await hub.json("DELETE", `${path}/faulty`);
    await hub.close();
    const [mixed, broken] = [find(object, "mixed"), find(object, "broken")];

    expect(mixed?.releases[1]?.message).toMatch(/model\.onnx cannot be loaded as ONNX/);
    expect(mixed?.conditions).toContainEqual(expect.objectContaining({ type: "Ready", status: "True" }));
    expect(broken?.conditions).toContainEqual(
      expect.objectContaining({ type: "Ready", status: "False", reason: "ModelLoadFailed" }),
    );
    expect(conditionOf(object, "Ready")).toMatchObject({ status: "False" });
    expect(conditionOf(object, "Ready")?.message).toMatch(/far-edge/);
  }, 120_000);
});

describe("hostile requests", () => {
  /** More than each takes, and no more than it reads to the end before it refuses: beyond that the connection is cut. */
  const hugeMiB = (name: string): number => (name === "API server" ? 48 : 96);
  const piece = Buffer.alloc(1024 * 1024, 0x20);
  const trust = new Agent({ connect: { rejectUnauthorized: false }, headersTimeout: 20_000, bodyTimeout: 20_000 });
  const deep = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":${'{"a":'.repeat(50_000)}1${"}".repeat(50_000)}}`;
  let doors: { name: string; url: string; headers: Record<string, string> }[] = [];
  let modelServer = "";
  let modelPodUid = "";

  beforeAll(async () => {
    const { ingress, northbound, artifacts, clusters } = addressesIn(data);
    const edge = await clientOf(data, "edge");
    const pods = await read<PodList>(edge, "/api/v1/namespaces/digits/pods");
    await edge.close();
    modelServer = `http://${pods.items[0]?.status.podIP}:8080`;
    modelPodUid = pods.items[0]?.metadata.uid ?? "";
    const token = { authorization: `Bearer ${await tokenOf(data, "hub")}` };
    const infer = "/v2/models/digits/infer";
    doors = [
      { name: "gateway", url: `${ingress}/t9k/hypermlservices/namespaces/digits/digits${infer}`, headers: {} },
      { name: "model server", url: `${modelServer}${infer}`, headers: {} },
      { name: "API server", url: `${clusters[0]?.api}/api/v1/namespaces/default/configmaps`, headers: token },
      { name: "northbound", url: `${northbound}/api/2.0/mlflow/runs/create`, headers: token },
      { name: "S3", url: `${artifacts}/artifacts/x`, headers: {} },
    ];
  });

  afterAll(() => trust.close());

  async function* huge(mib: number): AsyncGenerator<Buffer> {
    for (let sent = 0; sent < mib; sent += 1) {
      yield piece;
    }
  }

  const post = async (url: string, headers: Record<string, string>, body: string | AsyncGenerator<Buffer>) => {
    const answer = await request(url, {
      method: "POST",
      dispatcher: trust,
      headers: { "content-type": "application/json", ...headers },
      body: typeof body === "string" ? body : (await import("node:stream")).Readable.from(body),
    });
    return { status: answer.statusCode, text: await answer.body.text() };
  };

  test("huge bodies, deep nesting and broken JSON are answered; no process dies or grows without bound", async () => {
    // The servers behind the doors; other processes (commands, pods that crash on purpose) come and go.
    const servers = {
      platform: mainProcessOf(data),
      gateway: gatewayProcessOf(data) ?? 0,
      "model server": modelServerOf(data, modelPodUid) ?? 0,
    };
    const weigh = () => Object.entries(servers).map(([name, pid]) => ({ name, mib: residentMiB(pid) }));
    const before = weigh();
    expect(before.filter(({ mib }) => mib === 0)).toEqual([]);
    const answers: Record<string, (number | string)[]> = {};
    for (const { name, url, headers } of doors) {
      const codes: (number | string)[] = [];
      for (const body of [huge(hugeMiB(name)), deep, '{"inputs": [', "[1, 2"]) {
        codes.push(
          await post(url, headers, body).then(
            ({ status }) => status,
            (error: NodeJS.ErrnoException) => String(error.code ?? error),
          ),
        );
      }
      answers[name] = codes;
    }

    expect(answers).toEqual({
      gateway: [413, 400, 400, 400],
      "model server": [413, 400, 400, 400],
      "API server": [413, 400, 400, 400],
      northbound: [413, 400, 400, 400],
      S3: [403, 403, 403, 403],
    });
    const after = weigh();
    expect(after.filter(({ mib }) => mib === 0)).toEqual([]);
    expect(after.filter(({ mib }, index) => mib - (before[index]?.mib ?? 0) >= 256)).toEqual([]);
  }, 60_000);

  /** Sends bytes as they are; resolves with what came back when the peer closes or answers. */
  const raw = (url: string, text: string): Promise<string> =>
    within(`${url} answers or hangs up on ${JSON.stringify(text.slice(0, 80))}`, exchange(url, text));

  const exchange = (url: string, text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const { hostname, port, protocol } = new URL(url);
      const options = { host: hostname, port: Number(port), rejectUnauthorized: false };
      const socket = protocol === "https:" ? connectTls(options) : connectTcp(options);
      let answer = "";
      socket.setEncoding("latin1").on("data", (chunk: string) => {
        answer += chunk;
        if (answer.includes("\r\n\r\n")) {
          socket.destroy();
          resolve(answer);
        }
      });
      socket.once("close", () => resolve(answer));
      socket.once("error", (error) => (answer === "" ? reject(error) : resolve(answer)));
      socket.write(text);
    });

  test("malformed HTTP is refused", async () => {
    const malformed = [
      "GARBAGE\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
      `GET / HTTP/1.1\r\nHost: a\r\nX: ${"a".repeat(300_000)}\r\n\r\n`,
    ];
    for (const { name, url } of doors) {
      for (const text of malformed) {
        const answer = await raw(url, text).catch((error: NodeJS.ErrnoException) => String(error.code));
        expect(answer, `${name}: ${text.slice(0, 60)}`).toMatch(/^HTTP\/1\.1 4\d\d |^$|^ECONNRESET$|^EPIPE$/);
      }
    }
  }, 60_000);

  test("paths that climb reach no file", async () => {
    const climbs = [
      "/../../../../../../etc/passwd",
      "/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
      "/%00",
      "/%zz",
      "/....//etc/passwd",
    ];
    for (const { name, url, headers } of doors) {
      const base = new URL(url);
      for (const climb of climbs) {
        const path = `${base.pathname.slice(0, base.pathname.lastIndexOf("/"))}${climb}`;
        const lines = Object.entries(headers).map(([key, value]) => `${key}: ${value}\r\n`);
        const answer = await raw(url, `GET ${path} HTTP/1.1\r\nHost: ${base.host}\r\n${lines.join("")}\r\n`);
        expect(answer, `${name} ${climb}`).toMatch(/^HTTP\/1\.1 4\d\d /);
        expect(answer).not.toContain("root:");
      }
    }
  }, 60_000);

  test("bodies that never end hold nobody up", async () => {
    const sockets = doors.flatMap(({ url, headers }) =>
      Array.from({ length: 20 }, () => {
        const { hostname, port, protocol, pathname } = new URL(url);
        const options = { host: hostname, port: Number(port), rejectUnauthorized: false };
        const socket = protocol === "https:" ? connectTls(options) : connectTcp(options);
        const lines = Object.entries(headers).map(([key, value]) => `${key}: ${value}\r\n`);
        socket.on("error", () => undefined);
        socket.write(`POST ${pathname} HTTP/1.1\r\nHost: a\r\n${lines.join("")}Content-Length: 1000\r\n\r\n{`);
        return socket;
      }),
    );
    const answers = await askUntil(data, (sofar) => sofar.length >= 40);
    const listed = await onFleet("get", "hmls", "-A");
    for (const socket of sockets) {
      socket.destroy();
    }

    expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
    expect(listed.code, listed.stderr).toBe(0);
  });
});

describe("killed and frozen processes", () => {
  const headIngress = "/apis/argosy.dev/v1alpha1/namespaces/digits/headingresses/digits";
  const bothAnswer = (answers: readonly Prediction[]): boolean =>
    answers.some(({ member }) => member === "cloud") && answers.some(({ member }) => member === "edge");
  const now = (): number => systemClock.monotonicMs();

  async function edgePod(): Promise<{ uid: string; pid: number; restarts: number }> {
    const edge = await clientOf(data, "edge");
    try {
      return await eventually("the edge's model server", async () => {
        const { items } = await read<PodList>(edge, "/api/v1/namespaces/digits/pods");
        const pod = items.find(({ status }) => status.containerStatuses?.[0]?.ready === true);
        const pid = pod === undefined ? undefined : modelServerOf(data, pod.metadata.uid);
        return pod === undefined || pid === undefined
          ? undefined
          : { uid: pod.metadata.uid, pid, restarts: pod.status.containerStatuses?.[0]?.restartCount ?? 0 };
      });
    } finally {
      await edge.close();
    }
  }

  /** Until the edge has all of its weight again and answers. */
  async function edgeIsBack(hub: ApiClient): Promise<void> {
    await eventually(
      "the edge has its weight again",
      async () => {
        const { status } = await read<Conditioned>(hub, headIngress);
        return status?.backends?.find(({ name }) => name === "edge")?.weightEffective === 70 ? true : undefined;
      },
      { boundMs: 60_000 },
    );
    const end = now() + 30_000;
    const answers = await askUntil(data, (sofar) => bothAnswer(sofar.slice(-50)) || now() > end);
    expect(bothAnswer(answers)).toBe(true);
  }

  test("a killed gateway comes back with the same routes", async () => {
    const before = gatewayProcessOf(data);
    process.kill(before ?? 0, "SIGKILL");
    const after = await eventually("another gateway process", () => {
      const pid = gatewayProcessOf(data);
      return pid !== before && pid !== undefined ? pid : undefined;
    });
    const end = now() + 30_000;
    const answers = await askUntil(
      data,
      (sofar) => bothAnswer(sofar.filter(({ status }) => status === 200)) || now() > end,
    );

    expect(after).not.toBe(before);
    expect(bothAnswer(answers.filter(({ status }) => status === 200))).toBe(true);
  }, 90_000);

  /** Until the HeadIngress says that the edge gets nothing, and why. `between` is done again and again until then. */
  async function edgeIsOut(
    hub: ApiClient,
    between: () => void = () => undefined,
  ): Promise<{ why: string; condition: string }> {
    let seen: unknown;
    return eventually(
      "the HeadIngress says why the edge gets no traffic",
      async () => {
        between();
        const object = await read<Conditioned>(hub, headIngress);
        seen = object.status;
        const edge = object.status?.backends?.find(({ name }) => name === "edge");
        const condition = conditionOf(object, "WeightsEffective");
        return edge?.weightEffective === 0 && edge.reason !== undefined && condition?.status === "False"
          ? { why: `${edge.reason}: ${edge.message ?? ""}`, condition: condition.message }
          : undefined;
      },
      { boundMs: 60_000, seen: () => seen },
    );
  }

  test("a killed model server is out of rotation with its reason in the HeadIngress, started again, and back", async () => {
    const hub = await clientOf(data, "hub");
    await edgeIsBack(hub);
    const before = await edgePod();
    const killed = new Set<number>();
    // It is started again at once: whoever looks late would see nothing. One that comes back too soon is killed too.
    const kill = (): void => {
      const pid = modelServerOf(data, before.uid);
      if (pid === undefined || killed.has(pid)) return;
      killed.add(pid);
      process.kill(pid, "SIGKILL");
    };
    const { why, condition } = await edgeIsOut(hub, kill);
    const answers = await askUntil(data, (sofar) => sofar.length >= 200);
    await edgeIsBack(hub);
    const after = await edgePod();
    await hub.close();

    expect(why).toMatch(/^(NotAnswering|NotReady): .{10}/);
    expect(condition).toContain(`edge has 0 of 70: ${why.replace(/^\w+: /, "")}`);
    expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
    expect(after).toMatchObject({ uid: before.uid, restarts: before.restarts + killed.size });
    expect(killed).not.toContain(after.pid);
  }, 180_000);

  test("a frozen model server gets no traffic; the HeadIngress says why; it comes back", async () => {
    const hub = await clientOf(data, "hub");
    await edgeIsBack(hub);
    const { pid } = await edgePod();
    process.kill(pid, "SIGSTOP");
    try {
      const { why, condition } = await edgeIsOut(hub);
      const answers = await askUntil(data, (sofar) => sofar.length >= 200);

      expect(answers.filter(({ member, status }) => member !== "cloud" || status !== 200)).toEqual([]);
      expect(why).toMatch(/^(NotAnswering|NotReady): .{10}/);
      expect(condition).toContain("edge has 0 of 70");
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await edgeIsBack(hub);
    await hub.close();
  }, 120_000);
});

describe("ports", () => {
  test("every socket listens on loopback or the pod network only", () => {
    const processes = processesOf(data);
    const listeners = listenersOf(processes);
    const open = listeners.filter(({ isOnHost, address }) => isOnHost && !/^127\.|^198\.1[89]\./.test(address));

    expect(processes.map(({ pid }) => pid)).toContain(mainProcessOf(data));
    expect(processes.map(({ pid }) => pid)).toContain(gatewayProcessOf(data));
    expect(listeners.length).toBeGreaterThan(10);
    expect(open).toEqual([]);
  });

  test("without token or certificate nothing is told", async () => {
    const { northbound, artifacts, clusters } = addressesIn(data);
    const urls = [`${northbound}/api/2.0/mlflow/experiments/search?max_results=1`, `${artifacts}/artifacts/x`];
    for (const { name, api, nodes } of clusters) {
      urls.push(`${api}/api/v1/namespaces/default/secrets`, `${api}/apis/apps/v1/deployments`);
      const client = await clientOf(data, name);
      for (const node of nodes) {
        const { status } = await read<{
          status: { addresses: { address: string }[]; daemonEndpoints: { kubeletEndpoint: { Port: number } } };
        }>(client, `/api/v1/nodes/${node}`);
        urls.push(`https://${status.addresses[0]?.address}:${status.daemonEndpoints.kubeletEndpoint.Port}/pods`);
      }
      await client.close();
    }
    const dispatcher = new Agent({ connect: { rejectUnauthorized: false }, headersTimeout: 20_000 });
    const told: string[] = [];
    for (const url of urls) {
      for (const headers of [{}, { authorization: "Bearer wrong" }]) {
        const status = await request(url, { dispatcher, headers }).then(
          async (answer) => {
            await answer.body.dump();
            return answer.statusCode;
          },
          () => "no answer" as const,
        );
        if (status !== "no answer" && ![400, 401, 403].includes(status)) {
          told.push(`${url} answered ${status}`);
        }
      }
    }
    await dispatcher.close();

    expect(told).toEqual([]);
    expect(urls).toHaveLength(2 + 4 * 2 + 4);
  }, 60_000);
});
