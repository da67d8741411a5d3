/** For tests: MLServices in a cluster in memory, with Deployments and answers that are told. */
import type { Deployment } from "../../kernel/kinds/index.js";
import { DeploymentKind, SecretKind } from "../../kernel/kinds/index.js";
import type { Decision, Ledger } from "../../stores/ledger/types.js";
import { type MLService, MLServiceKind, MLServiceRuntimeKind } from "./index.js";
import { modelServerRuntime } from "./runtime.fixture.js";
import { type Stage, startStage } from "./stage.fixture.js";

/** A cluster in memory with the module in it. */
export interface Setup extends Stage {
  readonly decisions: Decision[];
}

/** Where the tests' objects are. */
export const namespace = "digits";

/** Starts one. */
export async function start(): Promise<Setup> {
  const decisions: Decision[] = [];
  const ledger: Ledger = {
    record: (decision) => void decisions.push(decision),
    query: async () => [],
    flush: async () => {},
    close: async () => {},
  };
  const kinds = [MLServiceKind, MLServiceRuntimeKind];
  const isWanted = ({ kind }: { readonly kind: { readonly group: string } }) => kind.group !== "serving.kserve.io";
  return { ...(await startStage({ namespace, kinds, isWanted, ledger })), decisions };
}

/** Runs the built-in model server. */
export const runtime = modelServerRuntime(
  namespace,
  ["--model-name={{ .MODEL_NAME }}", "--model-dir=/var/lib/t9k/model"],
  { port: 9000 },
);

/** A predictor of that runtime. */
export const predictor = (extra: object = {}) => ({
  minReplicas: 1,
  model: { runtime: "onnx", parameters: { MODEL_NAME: "digits" } },
  storage: {
    s3: { secretRef: { name: "s3" }, uri: "s3://artifacts/1/run/artifacts/model/", mountPath: "/var/lib/t9k/model" },
  },
  ...extra,
});

/** As a user writes. */
export const apply = { fieldManager: "test", force: true, namespace };

/** Makes the runtime and the Secret. */
export async function prepare(cluster: Setup): Promise<void> {
  await cluster.client.resource(MLServiceRuntimeKind).apply(runtime, apply);
  await cluster.client.resource(SecretKind).apply(
    {
      metadata: { name: "s3", namespace, labels: { "tensorstack.dev/resource": "s3" } },
      data: { ".s3cfg": Buffer.from("[default]").toString("base64") },
    },
    apply,
  );
}

/** Writes the MLService. */
export const applyService = (cluster: Setup, spec: object) =>
  cluster.client.resource(MLServiceKind).apply({ metadata: { name: "digits", namespace }, spec }, apply);

/** The MLService once it looks as wanted. */
export function until(cluster: Setup, wanted: (service: MLService) => boolean): Promise<MLService> {
  const informer = cluster.informers.informer(MLServiceKind);
  return new Promise((resolve) => {
    const check = (): void => {
      const service = informer.get({ namespace, name: "digits" });
      if (service !== undefined && wanted(service)) {
        stop();
        resolve(service);
      }
    };
    const stop = informer.onChange(check);
    setImmediate(check);
  });
}

/** Its condition Ready. */
export const readyOf = (service: MLService) => service.status?.conditions?.find(({ type }) => type === "Ready");
/** What is said of one of its releases. */
export const releaseOf = (service: MLService, name: string) =>
  service.status?.releases?.find((release) => release.name === name);

/** Stands in for the Deployment controller and the kubelet. */
export async function settle(cluster: Setup, name: string, ready: number): Promise<void> {
  const deployments = cluster.client.resource(DeploymentKind);
  for (;;) {
    const deployment: Deployment | undefined = await deployments.find(name, { namespace });
    if (deployment === undefined) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      continue;
    }
    const replicas = deployment.spec.replicas ?? 1;
    const status = {
      observedGeneration: deployment.metadata.generation ?? 1,
      replicas,
      updatedReplicas: replicas,
      readyReplicas: ready,
      availableReplicas: ready,
    };
    await deployments.patch(name, "merge", { status }, { namespace, subresource: "status" });
    return;
  }
}
