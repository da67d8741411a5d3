import { expect, test } from "vitest";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { type Claimant, ClaimDesk } from "./claim-desk.js";
import { CLAIM } from "./marks.js";

const claimant: Claimant = {
  means: (_apiVersion, kind) => kind === "Deployment",
  marksFor: ({ labels }) =>
    labels["app"] === "web"
      ? { labels: { [CLAIM.namespaced.id]: "1" }, annotations: { [CLAIM.namespaced.name]: "p" } }
      : undefined,
};

const draft = (metadata: JsonObject, kind = "Deployment"): JsonObject => ({ apiVersion: "apps/v1", kind, metadata });

test("a new object is marked in place as the detector says, beside its own marks", () => {
  const desk = new ClaimDesk();
  const object = draft({ name: "a", namespace: "demo", labels: { app: "web" } });
  desk.mark(object);
  expect(object["metadata"]).toEqual({ name: "a", namespace: "demo", labels: { app: "web" } });

  desk.open(claimant);
  desk.mark(object);

  expect(object["metadata"]).toEqual({
    name: "a",
    namespace: "demo",
    labels: { app: "web", [CLAIM.namespaced.id]: "1" },
    annotations: { [CLAIM.namespaced.name]: "p" },
  });
});

test("what no policy means, what bears a mark, and what is no object's metadata stays as it is", () => {
  const desk = new ClaimDesk();
  desk.open(claimant);
  for (const object of [
    draft({ name: "a", labels: { app: "db" } }),
    draft({ name: "a", labels: { app: "web" } }, "Secret"),
    draft({ name: "a", labels: { app: "web", [CLAIM.cluster.id]: "other" } }),
    draft({ name: "a", labels: { app: "web" }, annotations: { [CLAIM.namespaced.name]: "other" } }),
    draft({ labels: { app: "web" } }),
    draft({ name: "a", labels: "app=web" }),
    { apiVersion: "apps/v1", kind: "Deployment", metadata: 7 },
  ]) {
    const before = structuredClone(object);
    desk.mark(object);
    expect(object).toEqual(before);
  }
});

test("who closes the desk closes it for himself only", () => {
  const desk = new ClaimDesk();
  const next: Claimant = { ...claimant };
  desk.open(claimant);
  desk.open(next);
  desk.close(claimant);
  const object = draft({ name: "a", labels: { app: "web" } });
  desk.mark(object);
  expect(object["metadata"]).toHaveProperty("annotations");

  desk.close(next);
  const other = draft({ name: "b", labels: { app: "web" } });
  desk.mark(other);
  expect(other["metadata"]).not.toHaveProperty("annotations");
});
