import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { assetPath } from "../../../kernel/assets/index.js";
import { describedDefinition } from "./descriptions.js";
import { nativeAssets } from "./native-assets.js";

const texts = JSON.parse(readFileSync(assetPath("descriptions.json"), "utf8")) as Record<
  string,
  Record<string, string>
>;

test("a type and its fields say what they mean; the shared schema stays as the server's", () => {
  const name = "io.k8s.api.core.v1.Pod";
  expect(describedDefinition(name)).toMatchObject({
    description: expect.stringContaining("Containers that run together"),
    properties: {
      kind: { description: expect.stringContaining("CamelCase") },
      spec: { description: expect.any(String) },
    },
  });
  expect(JSON.stringify(nativeAssets().schemas[name])).not.toContain("description");
});

test("every text belongs to a type and a field that there are", () => {
  const known = (name: string, field: string): boolean =>
    name === "*" || field === "" || nativeAssets().schemas[name]?.properties?.[field] !== undefined;
  const lost = Object.entries(texts).flatMap(([name, fields]) =>
    Object.keys(fields).flatMap((field) => (known(name, field) ? [] : [`${name} ${field}`])),
  );

  expect(lost).toEqual([]);
});

test.each([
  "apps.v1.Deployment",
  "apps.v1.StatefulSet",
  "apps.v1.DaemonSet",
  "batch.v1.Job",
  "batch.v1.CronJob",
  "core.v1.Service",
  "core.v1.ConfigMap",
  "core.v1.Secret",
  "core.v1.Namespace",
  "core.v1.Node",
  "core.v1.PersistentVolumeClaim",
  "core.v1.ServiceAccount",
  "core.v1.Event",
  "networking.v1.Ingress",
  "autoscaling.v2.HorizontalPodAutoscaler",
  "policy.v1.PodDisruptionBudget",
  "rbac.v1.RoleBinding",
])("every field right below %s says what it means", (name) => {
  const { properties = {} } = describedDefinition(`io.k8s.api.${name}`) ?? {};
  const silent = Object.entries(properties as object).flatMap(([field, schema]) =>
    (schema as { description?: string }).description === undefined ? [field] : [],
  );

  expect(silent).toEqual([]);
});
