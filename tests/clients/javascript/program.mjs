// What people do with the JavaScript client: node program.mjs CHECK…, beside a node_modules that holds it. KUBECONFIG names the
// file. Prints a line of JSON for each check.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { PassThrough, Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.CLIENT_FOLDER}/package.json`);
const k8s = await import(pathToFileURL(require.resolve("@kubernetes/client-node")).href);

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const namespace = `javascript-${process.pid}`;

async function eventually(what, ask) {
  for (let attempt = 0; attempt < 1200; attempt += 1) {
    const answer = await ask();
    if (answer) return answer;
    await sleep(25);
  }
  throw new Error(`not within 30 s: ${what}`);
}

const configMap = (name, labels = {}) => ({ metadata: { name, labels }, data: { x: "1" } });
const create = (body) => core.createNamespacedConfigMap({ namespace, body });
const status = async (promise) => {
  try {
    await promise;
  } catch (error) {
    return error.code;
  }
  return 200;
};

const podSpec = (script) => ({
  terminationGracePeriodSeconds: 0,
  containers: [{ name: "main", image: "node", stdin: true, command: ["sh", "-c", script] }],
});

async function runPod(name, script) {
  await core.createNamespacedPod({ namespace, body: { metadata: { name }, spec: podSpec(script) } });
  await eventually("the pod runs", async () => {
    const pod = await core.readNamespacedPod({ name, namespace });
    return pod.status?.phase === "Running";
  });
}

const checks = {
  async typed() {
    const version = await config.makeApiClient(k8s.VersionApi).getCode();
    assert.equal(version.minor, "34");
    const made = await create(configMap("typed", { t: "1" }));
    assert.ok(made.metadata.creationTimestamp instanceof Date);
    assert.equal(await status(create(configMap("typed"))), 409);
    assert.equal(await status(core.readNamespacedConfigMap({ name: "none", namespace })), 404);
    assert.equal(await status(create(configMap("No_Name"))), 422);
    made.data.x = "2";
    await core.replaceNamespacedConfigMap({ name: "typed", namespace, body: made });
    assert.equal(await status(core.replaceNamespacedConfigMap({ name: "typed", namespace, body: made })), 409);
    const listed = await core.listNamespacedConfigMap({ namespace, labelSelector: "t=1" });
    assert.deepEqual(
      listed.items.map((item) => item.data),
      [{ x: "2" }],
    );
    await core.deleteNamespacedConfigMap({ name: "typed", namespace });
  },

  async patches() {
    await create(configMap("patched"));
    const patch = (body, type) =>
      core.patchNamespacedConfigMap(
        {
          name: "patched",
          namespace,
          body,
          fieldManager: "javascript",
          force: type === k8s.PatchStrategy.ServerSideApply ? true : undefined,
        },
        k8s.setHeaderOptions("Content-Type", type),
      );
    await patch([{ op: "replace", path: "/data/x", value: "2" }], k8s.PatchStrategy.JsonPatch);
    await patch({ data: { y: "3" } }, k8s.PatchStrategy.MergePatch);
    await patch({ data: { z: "4" } }, k8s.PatchStrategy.StrategicMergePatch);
    const body = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "patched" }, data: { x: "5" } };
    const applied = await patch(body, k8s.PatchStrategy.ServerSideApply);
    assert.deepEqual(applied.data, { x: "5", y: "3", z: "4" });
  },

  async untyped() {
    const objects = k8s.KubernetesObjectApi.makeApiClient(config);
    const body = { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "untyped", namespace } };
    const labels = { app: "untyped" };
    const template = { metadata: { labels }, spec: { containers: [{ name: "c", image: "node" }] } };
    const made = await objects.create({ ...body, spec: { replicas: 0, selector: { matchLabels: labels }, template } });
    assert.equal(made.spec.strategy.type, "RollingUpdate");
    const read = await objects.read(body);
    assert.equal(read.metadata.uid, made.metadata.uid);
    await objects.patch({ ...body, metadata: { ...body.metadata, labels } });
    const listed = await objects.list(
      "apps/v1",
      "Deployment",
      namespace,
      undefined,
      undefined,
      undefined,
      undefined,
      "app=untyped",
    );
    assert.equal(listed.items.length, 1);
    const scale = await apps.readNamespacedDeploymentScale({ name: "untyped", namespace });
    assert.equal(scale.status.selector, "app=untyped");
    await objects.delete(body);
  },

  async watches() {
    const seen = [];
    const start = (await core.listNamespacedConfigMap({ namespace })).metadata.resourceVersion;
    const ended = new Promise((resolve, reject) => {
      new k8s.Watch(config)
        .watch(
          `/api/v1/namespaces/${namespace}/configmaps`,
          { resourceVersion: start, labelSelector: "w=1", timeoutSeconds: 1 },
          (type, object) => seen.push(`${type} ${object.metadata.name}`),
          resolve,
        )
        .catch(reject);
    });
    await create(configMap("watched", { w: "1" }));
    await core.deleteNamespacedConfigMap({ name: "watched", namespace });
    await ended;
    assert.deepEqual(seen, ["ADDED watched", "DELETED watched"]);
  },

  async informers() {
    const seen = [];
    await create(configMap("informed-0", { i: "1" }));
    const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: "i=1" });
    const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, list, "i=1");
    for (const verb of ["add", "update", "delete"])
      informer.on(verb, (object) => seen.push(`${verb} ${object.metadata.name}`));
    informer.on("error", (error) => seen.push(String(error)));
    await informer.start();
    await create(configMap("informed-1", { i: "1" }));
    await core.replaceNamespacedConfigMap({
      name: "informed-0",
      namespace,
      body: { ...configMap("informed-0", { i: "1" }), data: {} },
    });
    await core.deleteNamespacedConfigMap({ name: "informed-1", namespace });
    await eventually("all events", () => seen.length === 4);
    assert.deepEqual(seen, ["add informed-0", "add informed-1", "update informed-0", "delete informed-1"]);
    assert.equal(informer.list().length, 1);
    await informer.stop();
  },

  async customObjects() {
    const group = `${namespace}.example.com`;
    const schema = {
      type: "object",
      properties: { spec: { type: "object", properties: { size: { type: "integer", _default: 1 } } } },
    };
    const version = { name: "v1", served: true, storage: true, schema: { openAPIV3Schema: schema } };
    const definitions = config.makeApiClient(k8s.ApiextensionsV1Api);
    const name = `things.${group}`;
    const spec = {
      group,
      scope: "Namespaced",
      names: { plural: "things", singular: "thing", kind: "Thing" },
      versions: [version],
    };
    await definitions.createCustomResourceDefinition({ body: { metadata: { name }, spec } });
    await eventually("the definition", async () => {
      const found = await definitions.readCustomResourceDefinition({ name });
      return found.status?.conditions?.some(({ type, status }) => type === "Established" && status === "True");
    });
    const custom = config.makeApiClient(k8s.CustomObjectsApi);
    const place = { group, version: "v1", namespace, plural: "things" };
    const body = { apiVersion: `${group}/v1`, kind: "Thing", metadata: { name: "one" }, spec: {} };
    const made = await custom.createNamespacedCustomObject({ ...place, body });
    assert.deepEqual(made.spec, { size: 1 });
    const listed = await custom.listNamespacedCustomObject(place);
    assert.equal(listed.items.length, 1);
    await definitions.deleteCustomResourceDefinition({ name });
  },

  async exec() {
    await runPod("exec", "echo started; sleep 600");
    const run = (command, input) =>
      new Promise((resolve, reject) => {
        const said = { out: "", err: "" };
        const [out, err] = [new PassThrough(), new PassThrough()];
        out.on("data", (text) => (said.out += text));
        err.on("data", (text) => (said.err += text));
        const done = (status) => setImmediate(resolve, { ...said, status });
        new k8s.Exec(config).exec(namespace, "exec", "main", command, out, err, input, false, done).catch(reject);
      });
    const first = await run(["sh", "-c", "echo out; echo err >&2; exit 4"], null);
    assert.deepEqual([first.out, first.err, first.status.status], ["out\n", "err\n", "Failure"]);
    assert.deepEqual(first.status.details.causes, [{ reason: "ExitCode", message: "4" }]);
    const second = await run(["head", "-c", "5"], Readable.from(["typed"]));
    assert.equal(second.out, "typed");
  },

  async logs() {
    await runPod("logs", "for n in 1 2 3; do echo line $n; done; sleep 600");
    const stream = new PassThrough();
    let text = "";
    stream.on("data", (chunk) => (text += chunk));
    const controller = await new k8s.Log(config).log(namespace, "logs", "main", stream, { follow: true });
    await eventually("all lines", () => text === "line 1\nline 2\nline 3\n");
    controller.abort();
    const last = await core.readNamespacedPodLog({ name: "logs", namespace, tailLines: 1 });
    assert.equal(last, "line 3\n");
  },

  async portForward() {
    await runPod(
      "forward",
      `exec node -e 'require("net").createServer((s)=>s.on("data",(d)=>s.end("got "+d))).listen(8080)'`,
    );
    const forward = new k8s.PortForward(config);
    const answer = await eventually("an answer", async () => {
      const output = new PassThrough();
      let text = "";
      output.on("data", (chunk) => (text += chunk));
      const input = new PassThrough();
      const socket = await forward.portForward(namespace, "forward", [8080], output, null, input);
      input.write("hello");
      for (let attempt = 0; attempt < 20 && text === ""; attempt += 1) await sleep(25);
      (typeof socket === "function" ? socket() : socket)?.close();
      return text;
    });
    assert.equal(answer, "got hello");
  },
};

await core.createNamespace({ body: { metadata: { name: namespace } } });
for (const name of process.argv.slice(2)) {
  let result = "ok";
  const started = performance.now();
  try {
    await checks[name]();
  } catch (error) {
    result = error.stack;
  }
  process.stdout.write(
    `${JSON.stringify({ check: name, result, seconds: Math.round(performance.now() - started) / 1000 })}\n`,
  );
}
await core.deleteNamespace({ name: namespace });
process.exit();
