import { expect, test } from "vitest";
import { systemClock } from "../../kernel/clock/index.js";
import { createManager } from "../../kernel/control/index.js";
import { ConfigMapKind, findCondition, NamespaceKind } from "../../kernel/kinds/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { startTestCluster } from "../../testing/index.js";
import { executionController } from "./execution.js";
import { eventually } from "./fixture.js";
import { InterpreterRegistry, ResourceInterpreterCustomizationKind } from "./interpreters/index.js";
import { ClusterKind, WorkKind } from "./kinds.js";

const space = "karmada-es-one";

test("what could not be delivered before a member was connected is, whichever Work notices the connection", async () => {
  const hub = await startTestCluster({
    name: "hub",
    clock: systemClock,
    kinds: [WorkKind, ClusterKind, ResourceInterpreterCustomizationKind],
  });
  const member = await startTestCluster({ name: "one", clock: systemClock });
  let isConnected = false;
  const manager = createManager({ cluster: hub, clock: systemClock, random: hub.random, log: silentLogger });
  manager.add(
    executionController({ members: () => (isConnected ? member : undefined), interpreters: new InterpreterRegistry() }),
  );
  manager.start();
  const works = hub.client.resource(WorkKind);
  const send = (name: string) =>
    works.create(
      {
        apiVersion: "work.karmada.io/v1alpha1",
        kind: "Work",
        metadata: { name, namespace: space },
        spec: {
          workload: {
            manifests: [{ apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "default" }, data: {} }],
          },
        },
      },
      { namespace: space },
    );
  await hub.client
    .resource(NamespaceKind)
    .create({ apiVersion: "v1", kind: "Namespace", metadata: { name: space }, spec: {} });
  for (const name of ["first", "second"]) {
    await send(name);
    await eventually(
      () => works.get(name, { namespace: space }),
      (work) => findCondition(work.status?.conditions, "Applied")?.status === "False",
      `${name} is refused`,
    );
  }

  isConnected = true;
  await send("third");

  const arrived = await eventually(
    () => member.client.resource(ConfigMapKind).list({ namespace: "default" }),
    ({ items }) => items.filter(({ metadata }) => metadata.name !== "kube-root-ca.crt").length === 3,
    "all are in the member",
  );
  expect(arrived.items.map(({ metadata }) => metadata.name)).toEqual(expect.arrayContaining(["first", "second"]));
  await manager.close();
  await hub.close();
  await member.close();
});
