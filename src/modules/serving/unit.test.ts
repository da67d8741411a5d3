import { expect, test } from "vitest";
import { systemClock } from "../../kernel/clock/index.js";
import type { Deployment, KubeObject } from "../../kernel/kinds/index.js";
import { renderKept } from "./autoscaling/scaler.js";
import { templateName } from "./autoscaling/standing.js";
import { reconcileUnit, type Unit, type UnitTools } from "./unit.js";

const template = { spec: { containers: [{ name: "a", image: "own" }] } };
const owner = { metadata: { name: "m", namespace: "n" } } as unknown as KubeObject;

/** A Deployment of one ready pod whose number was just set, and nothing more is seen of that. */
const resized = (replicas: number, ranTemplate: unknown): Deployment =>
  ({
    metadata: {
      name: "m",
      generation: 2,
      labels: { "serving.argosy.dev/autoscaler": "kpa" },
      annotations: {
        "serving.argosy.dev/scaling": renderKept({
          ...{ phase: "inactive", sinceMs: 0, initialized: true, template: templateName(ranTemplate) },
        }),
      },
    },
    spec: { replicas, template },
    status: { observedGeneration: 1, replicas: 1, updatedReplicas: 1, readyReplicas: 1 },
  }) as unknown as Deployment;

const settledAs = async (deployment: Deployment, client?: unknown) => {
  const unit = {
    ...{ owner, deployment: { metadata: { name: "m" } }, service: { metadata: { name: "m" } } },
    ...{ built: { probePath: "/", anyAnswer: true }, url: "http://m/", pods: () => [], given: undefined },
  } as unknown as Unit;
  const tools = {
    context: { cluster: { name: "cloud", client }, clock: systemClock, signal: new AbortController().signal },
    writer: { write: async () => deployment },
    probe: async () => ({ status: 200, body: "" }),
  } as unknown as UnitTools;
  const { settled, answers, fault } = await reconcileUnit(unit, tools);
  return { settled, answers, fault };
};

test("that the autoscaler wants another number of pods does not take away that it is ready", async () => {
  expect(await settledAs(resized(0, template))).toEqual({ settled: true, answers: true, fault: undefined });
  expect(await settledAs(resized(3, template))).toEqual({ settled: true, answers: true, fault: undefined });
});

test("pods of another template are waited for", async () => {
  const other = { spec: { containers: [{ name: "a", image: "before" }] } };

  expect(await settledAs(resized(1, other))).toMatchObject({ settled: false, fault: { reason: "Starting" } });
});

test("who has no pod because no request came, and is not scaled by requests any more, gets one", async () => {
  const asleep = resized(0, template);
  const patches: unknown[] = [];
  const patch = async (...[name, , change]: unknown[]): Promise<void> => void patches.push([name, change]);
  const client = { resource: () => ({ patch }) };
  const left = { ...asleep, metadata: { ...asleep.metadata, labels: {} } };
  await settledAs(left, client);
  expect(patches).toEqual([
    ["m", { metadata: { annotations: { "serving.argosy.dev/scaling": null } }, spec: { replicas: 1 } }],
  ]);
  await settledAs(asleep, client);
  expect(patches).toHaveLength(1);
});
