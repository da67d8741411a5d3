import { setTimeout as sleep } from "node:timers/promises";
import type { JsonObject } from "../../../src/kernel/kinds/object.js";
import { modelServerRuntime } from "../../../src/modules/serving/runtime.fixture.js";
import { type Answer, Load } from "../../support/load.js";
import { labelIn, requestV1, requestV2 } from "../../support/numbered-models.js";
import { apply } from "../home/karmada.js";
import { all, change, Diary, find, NAMESPACE, pathOf, type Stage, says } from "./stage.js";

/** Something that is to hold; returns what was seen, in words. */
export interface Scenario {
  readonly name: string;
  /** Beside the others, or after all of them; absent: one after the other. */
  readonly place?: "beside" | "last";
  readonly run: (stage: Stage) => Promise<string>;
}

/** A backend that is gone may cost requests for so long. */
const healthWindowMs = 2000;
const DOMAIN = `${NAMESPACE}.paris.argosy.localhost`;

const isvc = (name: string): string => `${pathOf("inferenceservices")}/${name}`;
const mlservice = (name: string): string => `${pathOf("mlservices", "tensorstack.dev/v1beta1")}/${name}`;
const modelAt = (label: number | string): JsonObject => ({
  modelFormat: { name: "onnx" },
  storageUri: `pvc://models/${label}`,
});

function service(name: string, predictor: JsonObject, spec: JsonObject = {}, annotations: JsonObject = {}): JsonObject {
  return {
    apiVersion: "serving.kserve.io/v1beta1",
    kind: "InferenceService",
    metadata: { name, namespace: NAMESPACE, annotations },
    spec: { predictor, ...spec },
  };
}

function check(holds: boolean, what: string, seen: unknown): void {
  if (!holds) throw new Error(`${what}: ${JSON.stringify(seen)?.slice(0, 1500)}`);
}

/** One prediction by the service's address. */
const predict = ({ caller }: Stage, name: string, limitMs?: number): Promise<Answer> =>
  caller.ask(`${name}.${DOMAIN}`, `/v2/models/${name}/infer`, requestV2, limitMs);

/** Which models answered so many requests, one after the other. */
async function counted(stage: Stage, name: string, requests: number, model = name): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let sent = 0; sent < requests; sent += 1) {
    const answer = await stage.caller.ask(`${name}.${DOMAIN}`, `/v2/models/${model}/infer`, requestV2);
    const label = answer.status === 200 ? labelIn(answer.body) : undefined;
    const key = label === undefined ? `lost ${answer.status} ${answer.body.slice(0, 100)}` : String(label);
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

function checkCounts(seen: Readonly<Record<string, number>>, wanted: Readonly<Record<string, number>>): void {
  const isSame = Object.keys({ ...seen, ...wanted }).every((key) => seen[key] === wanted[key]);
  check(isSame, `not ${JSON.stringify(wanted)}`, seen);
}

/** Nothing that an object of that name had is left, and its address is unknown. */
async function removed(stage: Stage, path: string, name: string): Promise<void> {
  await stage.member.client.json("DELETE", path);
  const kinds: [plural: string, group: string][] = [
    ["deployments", "apps/v1"],
    ["replicasets", "apps/v1"],
    ["pods", "v1"],
    ["services", "v1"],
    ["endpointslices", "discovery.k8s.io/v1"],
    ["ingresses", "networking.k8s.io/v1"],
    ["horizontalpodautoscalers", "autoscaling/v2"],
    ["configmaps", "v1"],
  ];
  let left: string[] = [];
  const isGone = async () => {
    left = [];
    for (const [plural, group] of kinds)
      for (const { metadata } of await all(stage, plural, group))
        if (metadata.name === name || metadata.name.startsWith(`${name}-`)) left.push(`${plural} ${metadata.name}`);
    return left.length === 0 && (await find(stage, path)) === undefined;
  };
  await stage.until(`nothing of ${name} is left`, isGone, 90).catch((error: unknown) => {
    throw new Error(`left: ${left.join(", ")}; ${String(error).slice(0, 500)}`);
  });
  const answer = await predict(stage, name);
  check(answer.status === 404, `${name} still has an address`, answer);
}

async function answers(stage: Stage): Promise<string> {
  await apply(stage.member.client, service("plain", { model: modelAt(1) }));
  await says(stage, isvc("plain"), {});
  const found = await find(stage, isvc("plain"));
  check(found?.status?.url?.startsWith(`http://plain.${DOMAIN}`) === true, "its URL", found?.status);
  const second = await predict(stage, "plain");
  const first = await stage.caller.ask(`plain.${DOMAIN}`, "/v1/models/plain:predict", requestV1);
  check(second.status === 200 && labelIn(second.body) === 1, "the second protocol", second);
  check(first.status === 200 && labelIn(first.body) === 1, "the first protocol", first);
  const [pod] = (await all(stage, "pods", "v1")).filter(({ metadata }) => metadata.name.startsWith("plain-"));
  await removed(stage, isvc("plain"), "plain");
  return `both protocols, by ${pod?.metadata.name}; nothing left after its deletion`;
}

/** Credentials for a store of which nothing listens. */
const unreachableStore = {
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name: "store", namespace: NAMESPACE, labels: { "tensorstack.dev/resource": "s3" } },
  stringData: {
    ".s3cfg":
      "[default]\nhost_base = 127.0.0.1:9\nhost_bucket = 127.0.0.1:9\nuse_https = False\naccess_key = a\nsecret_key = b\n",
  },
};

async function refuses(stage: Stage): Promise<string> {
  const { client } = stage.member;
  const wrong = service("wrong", { model: { ...modelAt(1), modelFormat: {} } });
  const refused = await apply(client, wrong).then(
    () => "it was taken",
    (error: unknown) => String(error),
  );
  check(/modelFormat/.test(refused), "admission does not name the field", refused);
  const gpu = { limits: { "nvidia.com/gpu": "1" } };
  const huge = { requests: { cpu: "4000" }, limits: { cpu: "4000" } };
  const cases: [name: string, predictor: JsonObject, reason: string][] = [
    ["broken", { model: modelAt("broken") }, "ModelLoadFailed"],
    ["absent", { model: modelAt("9") }, "ModelNotFound"],
    ["image", { containers: [{ name: "kserve-container", image: "argosy.test/none:1" }] }, "ImageNotFound"],
    ["gpu", { model: { ...modelAt(1), resources: gpu } }, "GpuUnavailable"],
    ["huge", { model: { ...modelAt(1), resources: huge } }, "Unschedulable"],
    ["format", { model: { ...modelAt(1), modelFormat: { name: "fortran" } } }, "NoSupportingRuntime"],
  ];
  const s3 = (name: string): JsonObject =>
    service(name, { model: { ...modelAt(1), storageUri: "s3://nowhere/model/" } });
  await apply(client, s3("keyless"));
  for (const [name, predictor] of cases) await apply(client, service(name, predictor));
  await says(stage, isvc("keyless"), { status: "False", reason: "SecretNotFound" });
  await removed(stage, isvc("keyless"), "keyless");
  await apply(client, unreachableStore);
  await apply(client, s3("store"));
  cases.push(["store", {}, "ModelDownloadFailed"]);
  const told: string[] = [];
  for (const [name, , reason] of cases) {
    const { message = "" } = await says(stage, isvc(name), { status: "False", reason });
    check(/cluster paris/.test(message), `${name} does not name the cluster`, message);
    if (reason !== "NoSupportingRuntime")
      check(message.includes(`pod ${NAMESPACE}/${name}-`), `${name} does not name the pod`, message);
    told.push(reason);
  }
  for (const [name] of cases) await removed(stage, isvc(name), name);
  return told.join(", ");
}

async function canary(stage: Stage): Promise<string> {
  await apply(stage.member.client, service("digits", { model: modelAt(1), minReplicas: 2 }));
  await says(stage, isvc("digits"), {});
  await change(stage, isvc("digits"), { spec: { predictor: { model: modelAt(2), canaryTrafficPercent: 10 } } });
  await says(stage, isvc("digits"), {});
  checkCounts(await counted(stage, "digits", 200), { "1": 180, "2": 20 });
  // The canary takes over while requests flow.
  const promotion = new Load(() => predict(stage, "digits"));
  await sleep(1000);
  await change(stage, isvc("digits"), { spec: { predictor: { canaryTrafficPercent: null } } });
  await says(stage, isvc("digits"), {});
  await oldGone(stage, "digits", 2);
  await promotion.stop();
  check(promotion.lost().length === 0, "requests were lost in the promotion", promotion.lost().slice(0, 5));
  checkCounts(await counted(stage, "digits", 50), { "2": 50 });
  // Pods are replaced in place while requests flow.
  const rolling = new Load(() => predict(stage, "digits"));
  await sleep(1000);
  await change(stage, isvc("digits"), { spec: { predictor: { model: modelAt(3) } } });
  await says(stage, isvc("digits"), {});
  await oldGone(stage, "digits", 2);
  await rolling.stop();
  check(rolling.lost().length === 0, "requests were lost in the rollout", rolling.lost().slice(0, 5));
  checkCounts(await counted(stage, "digits", 50), { "3": 50 });
  await removed(stage, isvc("digits"), "digits");
  return `20 of 200 to 10 %; promoted under ${promotion.sent.length} requests and rolled under ${rolling.sent.length}, none lost`;
}

/** Only so many pods are there any more, those that end counted. */
async function oldGone(stage: Stage, name: string, count: number): Promise<void> {
  const isGone = async () => {
    const pods = (await all(stage, "pods", "v1")).filter(({ metadata }) => metadata.name.startsWith(`${name}-`));
    return pods.length === count;
  };
  await stage.until(`${name} has ${count} pods`, isGone, 90);
}

async function named(stage: Stage): Promise<string> {
  const canaries = [{ trafficPercent: 25, predictor: { name: "next", model: modelAt(2) } }];
  await apply(stage.member.client, service("pair", { model: modelAt(1) }, { canary: canaries }));
  await says(stage, isvc("pair"), {});
  const isReady = async () => {
    const { canaryStatuses = [] } = ((await find(stage, isvc("pair")))?.status ?? {}) as {
      canaryStatuses?: { ready: boolean; trafficPercent: number }[];
    };
    return canaryStatuses[0]?.ready === true && canaryStatuses[0].trafficPercent === 25;
  };
  await stage.until("the canary is ready", isReady, 90);
  checkCounts(await counted(stage, "pair", 200), { "1": 150, "2": 50 });
  await removed(stage, isvc("pair"), "pair");
  return "50 of 200 to canary[] with 25 %";
}

async function releases(stage: Stage): Promise<string> {
  const { client } = stage.member;
  const release = (name: string, label: number): JsonObject => ({
    name,
    predictor: {
      minReplicas: 1,
      model: { runtime: "onnx" },
      storage: { pvc: { name: "models", subPath: String(label), mountPath: "/var/lib/t9k/model" } },
    },
  });
  const args = ["--model-name=twins", "--model-dir=/var/lib/t9k/model"];
  await apply(client, modelServerRuntime(NAMESPACE, args));
  await apply(client, {
    apiVersion: "tensorstack.dev/v1beta1",
    kind: "MLService",
    metadata: { name: "twins", namespace: NAMESPACE },
    spec: { default: "one", canary: "two", canaryTrafficPercent: 30, releases: [release("one", 1), release("two", 2)] },
  });
  await says(stage, mlservice("twins"), {});
  checkCounts(await counted(stage, "twins", 100), { "1": 70, "2": 30 });
  const own = await counted(stage, "twins-predict-two", 5, "twins");
  checkCounts(own, { "2": 5 });
  await removed(stage, mlservice("twins"), "twins");
  return "30 of 100 to the canary of an MLService; each release by an address of its own";
}

async function zero(stage: Stage): Promise<string> {
  const annotations = {
    "autoscaling.knative.dev/window": "6s",
    "autoscaling.knative.dev/target": "5",
  };
  const predictor = { model: modelAt(1), minReplicas: 0, maxReplicas: 3, containerConcurrency: 10 };
  await apply(stage.member.client, service("sleepy", predictor, {}, annotations));
  await says(stage, isvc("sleepy"), {});
  const isEmpty = async () => {
    const pods = (await all(stage, "pods", "v1")).filter(({ metadata }) => metadata.name.startsWith("sleepy-"));
    return pods.length === 0;
  };
  await stage.until("it has gone to zero", isEmpty, 120);
  await says(stage, isvc("sleepy"), {});
  const first = await predict(stage, "sleepy", 30_000);
  check(first.status === 200 && labelIn(first.body) === 1, "the first request at zero", first);
  await stage.until("it has gone to zero again", isEmpty, 120);
  const burst = await Promise.all(Array.from({ length: 200 }, () => predict(stage, "sleepy", 30_000)));
  const failed = burst.filter(({ status }) => status !== 200);
  check(failed.length === 0, "of 200 at once at zero some were lost", failed.slice(0, 5));
  const slowest = Math.max(...burst.map(({ tookMs }) => tookMs));
  await removed(stage, isvc("sleepy"), "sleepy");
  return `the first request at zero took ${first.tookMs} ms; of 200 at once at zero none was lost, the slowest took ${slowest} ms`;
}

async function nodeCut(stage: Stage): Promise<string> {
  const soon = { operator: "Exists", effect: "NoExecute", tolerationSeconds: 3 };
  const predictor = {
    model: modelAt(1),
    minReplicas: 2,
    // One on each node; those of a node that is gone come back on the other.
    topologySpreadConstraints: [
      {
        ...{ maxSkew: 1, topologyKey: "kubernetes.io/hostname", whenUnsatisfiable: "DoNotSchedule" },
        nodeTaintsPolicy: "Honor",
        labelSelector: { matchLabels: { "serving.kserve.io/inferenceservice": "sturdy" } },
      },
    ],
    tolerations: [
      { key: "node.kubernetes.io/unreachable", ...soon },
      { key: "node.kubernetes.io/not-ready", ...soon },
    ],
  };
  await apply(stage.member.client, service("sturdy", predictor));
  await says(stage, isvc("sturdy"), {});
  const pods = (await all(stage, "pods", "v1")).filter(({ metadata }) => metadata.name.startsWith("sturdy-"));
  const nodes = new Set(pods.map(({ spec }) => spec?.["nodeName"]));
  check(pods.length === 2 && nodes.size === 2, "its pods are not on both nodes", [...nodes]);
  const load = new Load(() => predict(stage, "sturdy", 5000));
  const diary = new Diary(stage, isvc("sturdy"));
  await sleep(2000);
  const cutAt = Date.now();
  stage.member.nodes[1]?.cut();
  const isHealed = async () =>
    diary.words.some(({ status, atMs }) => status !== "True" && atMs > cutAt) && diary.last?.status === "True";
  try {
    await stage.until("it is Ready again", isHealed, 120);
  } catch (error) {
    throw new Error(`${JSON.stringify(diary.words)}; ${String(error)}`);
  } finally {
    await diary.close();
    await load.stop();
  }
  const late = load.lost(cutAt + healthWindowMs);
  const window = load.lost(cutAt).length - late.length;
  check(load.lost().length === load.lost(cutAt).length, "requests were lost before the cut", load.lost().slice(0, 5));
  check(late.length === 0, "requests were lost after the health window", late.slice(0, 5));
  const told = diary.words
    .filter(({ atMs }) => atMs > cutAt)
    .map(({ atMs, reason }) => `${reason} ${((atMs - cutAt) / 1000).toFixed(1)} s after it`);
  check(
    told.some((words) => words.startsWith("NodeLost")),
    "nothing was said of the node",
    diary.words,
  );
  return `${load.sent.length} requests, ${window} lost in the 2 s after the cut, none later; it said ${told.join(", ")}`;
}

/** Each cleans up; the last one costs a node. */
export const scenarios: readonly Scenario[] = [
  { name: "answers", run: answers },
  { name: "refuses", run: refuses },
  { name: "canary", run: canary },
  { name: "named", run: named },
  { name: "releases", run: releases },
  { name: "zero", place: "beside", run: zero },
  { name: "node", place: "last", run: nodeCut },
];
