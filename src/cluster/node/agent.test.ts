import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { exec, portForward } from "../../kernel/client/index.js";
import { systemClock, systemRandom } from "../../kernel/clock/index.js";
import {
  ConfigMapKind,
  EndpointSliceKind,
  EventKind,
  isConditionTrue,
  NodeKind,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  PodKind,
  SecretKind,
  ServiceKind,
} from "../../kernel/kinds/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import type { TestCluster } from "../../testing/index.js";
import { unless } from "../../testing/unless.js";
import { podDraft as draft, shell as sh, startNode, type TestNode } from "./agent.fixture.js";
import { createServiceProxy, detectIsolation } from "./index.js";
import { runtimeHomes } from "./runtime/runtimes.fixture.js";

const isolation = detectIsolation();

describe.each(runtimeHomes)("$name", ({ name: runtime, missing: noPods }) => {
  let node: TestNode;
  let cluster: TestCluster;

  beforeAll(async () => {
    // Without a runtime, processes say why nothing runs.
    if (noPods !== undefined && runtime !== "process") return;
    node = await startNode({ isolation, runtime });
    ({ cluster } = node);
  });

  afterAll(() => node?.close());

  const create: TestNode["create"] = (pod) => node.create(pod);
  const seen: TestNode["seen"] = (name, wanted) => node.seen(name, wanted);
  const gone: TestNode["gone"] = (name) => node.gone(name);
  const logs: TestNode["logs"] = (name, query) => node.logs(name, query);

  unless(runtime === "process" ? undefined : noPods)("registers the node with what it offers", async () => {
    const node = await cluster.client.resource(NodeKind).get("node-1");
    const version = await cluster.client.transport.request({ method: "GET", path: "/version" });
    let text = "";
    for await (const chunk of version.body) text += Buffer.from(chunk).toString("utf8");

    expect(node.metadata.labels).toMatchObject({
      "kubernetes.io/hostname": "node-1",
      "kubernetes.io/os": "linux",
      zone: "a",
    });
    expect(node.status?.allocatable).toMatchObject({ cpu: "1", pods: "110" });
    expect(isConditionTrue(node.status?.conditions, "Ready")).toBe(noPods === undefined);
    expect(node.status?.nodeInfo?.containerRuntimeVersion).toMatch(new RegExp(`^argosy-${runtime}://`));
    expect(node.status?.nodeInfo?.kubeletVersion).toBe(JSON.parse(text).gitVersion);
    expect(node.status?.daemonEndpoints?.kubeletEndpoint?.Port).toBeGreaterThan(0);
  });

  unless(noPods)("runs a pod to its end, with environment, volumes and logs", async () => {
    await cluster.client.resource(ConfigMapKind).create({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "settings", namespace: "default" },
      data: { color: "blue", "a.conf": "x=1\n" },
    });
    await cluster.client.resource(SecretKind).create({
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "key", namespace: "default" },
      data: { token: Buffer.from("t0p").toString("base64") },
    });

    await create(
      draft("once", {
        restartPolicy: "Never",
        initContainers: [
          {
            name: "init",
            image: "shell",
            command: ["sh", "-c", "echo from-init >/work/f"],
            volumeMounts: [{ name: "work", mountPath: "/work" }],
          },
        ],
        containers: [
          {
            ...sh(
              "cat /work/f /etc/app/a.conf /secrets/token; echo; echo $COLOR $(COLOR) $NAME $LIMIT; env | grep -c . >/dev/null; exit 4",
            ),
            env: [
              { name: "COLOR", valueFrom: { configMapKeyRef: { name: "settings", key: "color" } } },
              { name: "NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
              { name: "LIMIT", valueFrom: { resourceFieldRef: { resource: "limits.memory", divisor: "1Mi" } } },
            ],
            resources: { limits: { memory: "64Mi", cpu: "500m" } },
            volumeMounts: [
              { name: "work", mountPath: "/work" },
              { name: "conf", mountPath: "/etc/app" },
              { name: "sec", mountPath: "/secrets" },
            ],
          },
        ],
        volumes: [
          { name: "work", emptyDir: {} },
          { name: "conf", configMap: { name: "settings", items: [{ key: "a.conf", path: "a.conf" }] } },
          { name: "sec", secret: { secretName: "key" } },
        ],
      }),
    );
    const pod = await seen("once", (each) => each.status?.phase === "Failed");

    expect(pod.status?.containerStatuses?.[0]?.state?.terminated).toMatchObject({ exitCode: 4, reason: "Error" });
    expect(pod.status?.initContainerStatuses?.[0]).toMatchObject({
      ready: true,
      state: { terminated: { exitCode: 0, reason: "Completed" } },
    });
    expect(await logs("once")).toBe("from-init\nx=1\nt0p\nblue blue once 64\n");
    expect(await logs("once", "?tailLines=1&timestamps=true")).toMatch(/^\d{4}-\S+Z blue blue once 64\n$/);
  });

  unless(noPods)("a pod is ready when its probe says so, and leaves no trace when deleted", async () => {
    const program =
      "require('http').createServer((q,r)=>{r.statusCode=q.url==='/ok'?200:500;r.end()}).listen(8080,process.env.POD_IP)";
    await create(
      draft("web", {
        containers: [
          {
            name: "main",
            image: "node:20",
            args: ["-e", program],
            ports: [{ name: "http", containerPort: 8080 }],
            readinessProbe: { httpGet: { path: "/ok", port: "http" } },
          },
        ],
      }),
    );
    const ready = await seen("web", (each) => isConditionTrue(each.status?.conditions, "Ready"));
    await cluster.client.resource(PodKind).delete("web", { namespace: "default" });
    await gone("web");

    expect(ready.status).toMatchObject({ phase: "Running", podIP: expect.stringMatching(/^(198\.18|127\.)/) });
    expect(ready.status?.conditions?.map((each) => each.type).sort()).toEqual([
      "ContainersReady",
      "Initialized",
      "PodReadyToStartContainers",
      "PodScheduled",
      "Ready",
    ]);
  });

  unless(noPods)("says why an image is unknown and how to add it", async () => {
    await create(draft("nowhere", { containers: [{ name: "main", image: "registry.example/nothing:1" }] }));

    const pod = await seen(
      "nowhere",
      (each) => each.status?.containerStatuses?.[0]?.state?.waiting?.reason === "ImagePullBackOff",
    );

    expect(pod.status?.containerStatuses?.[0]?.state?.waiting?.message).toContain("catalogue");
    const events = await cluster.client
      .resource(EventKind)
      .list({ namespace: "default", fieldSelector: "involvedObject.name=nowhere" });
    expect(events.items.map((event) => event.reason)).toContain("Failed");
  });

  unless(noPods)("restarts what ends, and backs off", async () => {
    await create(draft("crash", { containers: [sh("echo run; exit 1")] }));

    const pod = await seen(
      "crash",
      (each) => each.status?.containerStatuses?.[0]?.state?.waiting?.reason === "CrashLoopBackOff",
    );

    const status = pod.status?.containerStatuses?.[0];
    expect(status).toMatchObject({ restartCount: 1, lastState: { terminated: { exitCode: 1, reason: "Error" } } });
    expect(status?.state?.waiting?.message).toMatch(
      /^back-off 10s restarting failed container=main pod=crash_default\(/,
    );
    expect(await logs("crash", "?previous=true")).toBe("run\n");
  });

  unless(noPods)("sidecars start first and end last", async () => {
    await create(
      draft("side", {
        restartPolicy: "Never",
        initContainers: [
          {
            name: "helper",
            image: "shell",
            restartPolicy: "Always",
            command: ["sh", "-c", "trap 'exit 143' TERM; touch /w/up; while :; do sleep 0.05; done"],
            volumeMounts: [{ name: "w", mountPath: "/w" }],
            startupProbe: { exec: { command: ["test", "-f", "/w/up"] }, periodSeconds: 1 },
          },
        ],
        containers: [{ ...sh("test -f /w/up && echo helped"), volumeMounts: [{ name: "w", mountPath: "/w" }] }],
        volumes: [{ name: "w", emptyDir: { medium: "Memory" } }],
      }),
    );

    const pod = await seen("side", (each) => each.status?.phase === "Succeeded");

    expect(await logs("side", "?container=main")).toBe("helped\n");
    expect(pod.status?.initContainerStatuses?.[0]?.state?.terminated?.exitCode).toBe(143);
  });

  unless(noPods)("exec, attach and port-forward work through the API", async () => {
    const program = "require('net').createServer(s=>s.pipe(s)).listen(7070,process.env.POD_IP,()=>console.log('up'))";
    await create(draft("echo", { containers: [{ name: "main", image: "node", args: ["-e", program] }] }));
    await seen("echo", (each) => isConditionTrue(each.status?.conditions, "Ready"));
    await podLogsUntil("echo", "up");
    const target = { namespace: "default", pod: "echo", container: "main" };
    let out = "";
    let err = "";

    const result = await exec(cluster.client, {
      ...target,
      command: ["sh", "-c", "cat; echo oops >&2; exit 9"],
      stdin: (async function* () {
        yield Buffer.from("typed");
      })(),
      stdout: (data) => (out += Buffer.from(data).toString()),
      stderr: (data) => (err += Buffer.from(data).toString()),
    });
    const forward = await portForward(cluster.client, { namespace: "default", pod: "echo", port: 7070 });
    forward.write(Buffer.from("ping"));
    let echoed = "";
    for await (const chunk of forward.data) {
      echoed += Buffer.from(chunk).toString();
      if (echoed === "ping") break;
    }
    forward.close();

    expect([result.exitCode, out, err, echoed]).toEqual([9, "typed", "oops\n", "ping"]);
  });

  unless(noPods)(
    "services are reached by name from inside pods, with their ClusterIP where pods have a network",
    async () => {
      const proxy = createServiceProxy({
        cluster,
        network: node.network,
        clock: systemClock,
        random: systemRandom,
        log: silentLogger,
      });
      await proxy.start();
      const program =
        "require('http').createServer((q,r)=>r.end('hello '+q.headers.host)).listen(8080,process.env.POD_IP)";
      await create({
        ...draft("backend", {
          containers: [
            { name: "main", image: "node", args: ["-e", program], readinessProbe: { tcpSocket: { port: 8080 } } },
          ],
        }),
        metadata: { name: "backend", namespace: "default", labels: { app: "backend" } },
      });
      const backend = await seen("backend", (each) => isConditionTrue(each.status?.conditions, "Ready"));
      const service = await cluster.client.resource(ServiceKind).create({
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "web", namespace: "default" },
        spec: { ports: [{ port: 8088 }], ...(isolation.hasNetworkNamespace ? {} : { clusterIP: "None" }) },
      });
      await cluster.client.resource(EndpointSliceKind).create({
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: { name: "web-1", namespace: "default", labels: { "kubernetes.io/service-name": "web" } },
        addressType: "IPv4",
        ports: [{ name: "", port: 8080 }],
        endpoints: [{ addresses: [backend.status?.podIP ?? ""], conditions: { ready: true } }],
      });
      const port = isolation.hasNetworkNamespace ? 8088 : 8080;
      const client = `const get=(n)=>fetch(n).then(r=>r.text()).catch(()=>new Promise(r=>setTimeout(r,20)).then(()=>get(n)));
    Promise.all(['web','web.default','web.default.svc.cluster.local'].map(h=>get('http://'+h+':${port}/'))).then(a=>console.log(a.join()))`;
      await create(
        draft("client", {
          restartPolicy: "Never",
          containers: [{ name: "main", image: "node", args: ["-e", client] }],
        }),
      );

      await seen("client", (each) => each.status?.phase === "Succeeded");
      await proxy.close();

      expect(service.metadata.name).toBe("web");
      expect(await logs("client")).toBe(
        `hello web:${port},hello web.default:${port},hello web.default.svc.cluster.local:${port}\n`,
      );
    },
  );

  unless(noPods)("a configMap's new content arrives in a running pod", async () => {
    const configMaps = cluster.client.resource(ConfigMapKind);
    await configMaps.create({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "live", namespace: "default" },
      data: { v: "1" },
    });
    const script = 'echo $(cat /c/v); while [ "$(cat /c/v)" = 1 ]; do sleep 0.05; done; echo $(cat /c/v)';
    await create(
      draft("watcher", {
        restartPolicy: "Never",
        containers: [{ ...sh(script), volumeMounts: [{ name: "c", mountPath: "/c" }] }],
        volumes: [{ name: "c", configMap: { name: "live" } }],
      }),
    );
    await podLogsUntil("watcher", "1");
    await configMaps.patch("live", "merge", { data: { v: "2" } }, { namespace: "default" });

    await seen("watcher", (each) => each.status?.phase === "Succeeded");

    expect(await logs("watcher")).toBe("1\n2\n");
  });

  unless(noPods)("a claim of class local is bound to a folder of the node that outlives pods", async () => {
    await cluster.client.resource(PersistentVolumeClaimKind).create({
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: "data", namespace: "default" },
      spec: { storageClassName: "local", accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
    });
    const pod = (name: string, script: string) =>
      draft(name, {
        restartPolicy: "Never",
        containers: [{ ...sh(script), volumeMounts: [{ name: "d", mountPath: "/data", subPath: "inner" }] }],
        volumes: [{ name: "d", persistentVolumeClaim: { claimName: "data" } }],
      });

    await create(pod("writer", "echo kept >/data/f"));
    await seen("writer", (each) => each.status?.phase === "Succeeded");
    await create(pod("reader", "cat /data/f"));
    await seen("reader", (each) => each.status?.phase === "Succeeded");

    expect(await logs("reader")).toBe("kept\n");
    const claim = await cluster.client.resource(PersistentVolumeClaimKind).get("data", { namespace: "default" });
    expect(claim).toMatchObject({ status: { phase: "Bound" }, spec: { volumeName: `pvc-${claim.metadata.uid}` } });
  });

  unless(noPods)("a volume for reading by many is mounted so, whatever a pod asks for", async () => {
    const folder = join(tmpdir(), `argosy-rox-${process.pid}`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "f"), "shared");
    const modes = { accessModes: ["ReadOnlyMany"], storageClassName: "by-hand" };
    await cluster.client.resource(PersistentVolumeKind).create({
      ...{ apiVersion: "v1", kind: "PersistentVolume", metadata: { name: "shared" } },
      spec: { ...modes, capacity: { storage: "1Gi" }, hostPath: { path: folder } },
    });
    await cluster.client.resource(PersistentVolumeClaimKind).create({
      ...{ apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { name: "shared", namespace: "default" } },
      spec: { ...modes, volumeName: "shared", resources: { requests: { storage: "1Gi" } } },
    });
    await create(
      draft("changer", {
        restartPolicy: "Never",
        containers: [{ ...sh("cat /d/f; echo mine >/d/f || echo no"), volumeMounts: [{ name: "d", mountPath: "/d" }] }],
        volumes: [{ name: "d", persistentVolumeClaim: { claimName: "shared" } }],
      }),
    );
    await seen("changer", (each) => each.status?.phase === "Succeeded");

    expect(await logs("changer")).toContain("no");
    expect(readFileSync(join(folder, "f"), "utf8")).toBe("shared");
    rmSync(folder, { recursive: true });
  });

  unless(noPods)("service account tokens, hooks and the downward API are in place", async () => {
    await create(
      draft("rich", {
        restartPolicy: "Never",
        containers: [
          {
            ...sh(
              "cut -d. -f1 /var/run/secrets/kubernetes.io/serviceaccount/token | base64 -d 2>/dev/null | grep -o alg; cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; echo; cat /info/labels; echo; while [ ! -f /tmp/hook ]; do sleep 0.02; done; cat /tmp/hook",
            ),
            lifecycle: { postStart: { exec: { command: ["sh", "-c", "echo hooked >/tmp/h; mv /tmp/h /tmp/hook"] } } },
            volumeMounts: [{ name: "info", mountPath: "/info" }],
          },
        ],
        volumes: [
          { name: "info", downwardAPI: { items: [{ path: "labels", fieldRef: { fieldPath: "metadata.name" } }] } },
        ],
      }),
    );

    await seen("rich", (each) => each.status?.phase === "Succeeded");

    expect(await logs("rich")).toBe("alg\ndefault\nrich\nhooked\n");
  });

  /** Reads a pod's log until it contains the text. */
  async function podLogsUntil(name: string, text: string): Promise<void> {
    await seen(name, (each) => each.status?.containerStatuses?.[0]?.state?.running !== undefined);
    const response = await cluster.client.transport.request({
      method: "GET",
      path: `/api/v1/namespaces/default/pods/${name}/log?follow=true`,
    });
    let all = "";
    for await (const chunk of response.body) {
      all += Buffer.from(chunk).toString("utf8");
      if (all.includes(text)) return;
    }
  }
});
