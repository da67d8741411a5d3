import { request } from "node:https";
import { text } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { seededRandom, systemClock } from "../../kernel/clock/index.js";
import { createManager } from "../../kernel/control/index.js";
import { createAuthority } from "../../kernel/identity/index.js";
import {
  ConfigMapKind,
  defineKind,
  MutatingWebhookConfigurationKind,
  ValidatingWebhookConfigurationKind,
} from "../../kernel/kinds/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { s } from "../../kernel/schema/index.js";
import { startTestCluster, type TestCluster } from "../../testing/index.js";
import { freePorts } from "../../testing/ports.js";
import type { ObjectCheck } from "../apiserver/index.js";
import { admissionKeeper, type HookPlace, type KeeperOptions, startWebhookServer } from "./index.js";

const ThingKind = defineKind({
  group: "test.argosy.dev",
  version: "v1",
  kind: "Thing",
  plural: "things",
  description: "test",
  spec: s.preserveUnknown(),
});
const thing = (name: string, spec: object) => ({
  apiVersion: "test.argosy.dev/v1",
  kind: "Thing",
  metadata: { name, namespace: "default" },
  spec: JSON.parse(JSON.stringify(spec)),
});
const check: ObjectCheck = {
  about: ThingKind,
  complete: (object) => {
    const spec = object["spec"] as Record<string, string>;
    spec["size"] ??= "small";
    if (spec["size"] === "broken") throw new TypeError("cannot be completed");
  },
  review: async (object) => {
    const { size } = object["spec"] as Record<string, string>;
    if (size === "broken") throw new TypeError("cannot be checked");
    return {
      faults: size === "huge" ? [{ reason: "FieldValueInvalid", field: "spec.size", message: "too huge" }] : [],
      warnings: [],
      ...(size === "odd" ? { denial: { webhook: "any", message: "odd sizes are not sold" } } : {}),
    };
  },
  reviewDeletion: (object) => {
    const isHeld = (object["spec"] as Record<string, string>)["size"] === "held";
    const faults = isHeld ? [{ reason: "FieldValueForbidden", field: "spec.size", message: "it is held" }] : [];
    return { faults, warnings: [] };
  },
};
const host = "127.0.0.1";
const surroundings = { clock: systemClock, random: seededRandom(3), log: silentLogger };

async function asked(
  cluster: TestCluster,
  placeOf: (port: number) => HookPlace = (port) => ({ url: `https://${host}:${port}` }),
  more: Partial<KeeperOptions> = {},
) {
  const authority = await createAuthority({ clock: systemClock, name: "webhooks" });
  const certificate = await authority.issueServer([host]);
  const server = await startWebhookServer({ ...certificate, ...surroundings, checks: [check], host, port: 0 });
  const states: { isAsked: boolean; why: string }[] = [];
  const manager = createManager({ cluster, ...surroundings });
  const state = await new Promise<{ isAsked: boolean; why: string }>((resolve) => {
    const keeper = admissionKeeper({
      name: "mine",
      namespace: "default",
      checks: [check],
      place: placeOf(server.port),
      caPem: authority.caPem,
      mark: server.mark,
      ...more,
      onState: (now) => {
        states.push(now);
        resolve(now);
      },
    });
    manager.add(keeper.controller);
    manager.start();
    onTestFinished(async () => {
      await manager.close();
      await keeper.withdraw(cluster.client);
      expect(await cluster.client.resource(MutatingWebhookConfigurationKind).find("mine")).toBe(undefined);
      await server.close();
      await cluster.close();
    });
  });
  return { state, server, authority };
}

test("checks are asked by an API server that knows nothing of them", async () => {
  const cluster = await startTestCluster({ kinds: [ThingKind] });
  expect((await asked(cluster)).state).toEqual({ isAsked: true, why: "" });
  const things = cluster.client.dynamic(ThingKind);
  const create = (name: string, spec: object) => things.create(thing(name, spec), { namespace: "default" });

  expect(await create("a", {})).toMatchObject({ spec: { size: "small" } });
  await expect(create("b", { size: "huge" })).rejects.toMatchObject({
    httpCode: 422,
    message:
      'admission webhook "thing.test.argosy.dev" denied the request: Thing.test.argosy.dev "b" is invalid: spec.size: Invalid value: too huge',
  });
  await expect(create("c", { size: "odd" })).rejects.toMatchObject({
    httpCode: 403,
    message: 'admission webhook "thing.test.argosy.dev" denied the request: odd sizes are not sold',
  });
  // A check that fails has nothing against it.
  expect(await create("d", { size: "broken" })).toMatchObject({ spec: { size: "broken" } });
  await expect(things.patch("a", "merge", { spec: { size: "huge" } }, { namespace: "default" })).rejects.toMatchObject({
    httpCode: 422,
  });
  await create("e", { size: "held" });
  await expect(things.delete("e", { namespace: "default" })).rejects.toThrow("spec.size: Forbidden: it is held");
  await things.delete("a", { namespace: "default" });
  expect(await things.find("a", { namespace: "default" })).toBe(undefined);

  // Nobody else's writes are slowed, and what somebody takes away comes back.
  const configuration = cluster.client.resource(ValidatingWebhookConfigurationKind);
  const found = await configuration.get("mine");
  expect(found.webhooks?.map(({ name, failurePolicy }) => `${name} ${failurePolicy}`)).toEqual([
    "probe.argosy.dev Ignore",
    "thing.test.argosy.dev Fail",
  ]);
  await configuration.delete("mine");
  for (let look = 0; (await configuration.find("mine"))?.webhooks?.length !== 2; look += 1) {
    if (look === 200) throw new Error("it did not come back");
    await systemClock.sleep(20);
  }
});

test("where the API server does not reach it, it is not registered", async () => {
  const cluster = await startTestCluster({ kinds: [ThingKind] });
  const [nobody = 1] = await freePorts(1);
  const { state } = await asked(cluster, () => ({ url: `https://${host}:${nobody}` }), { patienceMs: 500 });
  expect(state).toEqual({ isAsked: false, why: `the API server does not reach https://${host}:${nobody}` });
  expect(await cluster.client.resource(ValidatingWebhookConfigurationKind).find("mine")).toBe(undefined);
  await cluster.client.dynamic(ThingKind).create(thing("a", { size: "huge" }), { namespace: "default" });
  await cluster.client.resource(ConfigMapKind).list({ namespace: "default" });
});

test("what is no review is answered with what is wrong, and a new certificate is shown", async () => {
  const cluster = await startTestCluster({ kinds: [ThingKind] });
  const { server, authority } = await asked(cluster);
  const ca = authority.caPem;
  const post = (path: string, body: string, method = "POST") =>
    new Promise<string>((resolve, reject) => {
      const call = request({ host, port: server.port, path, method, ca, agent: false }, (response) =>
        resolve(text(response).then((said) => `${response.statusCode} ${said}`)),
      );
      call.once("error", reject).end(body);
    });
  const review = (more: object) => JSON.stringify({ kind: "AdmissionReview", request: { uid: "u", ...more } });
  const seen = [
    await post("/review", "{"),
    await post("/review", "[]"),
    await post("/review", review({})),
    await post("/nowhere", review({})),
    await post("/review", "", "GET"),
  ];
  expect(seen.map((answer) => answer.slice(0, 3))).toEqual(["400", "400", "400", "404", "404"]);
  const kind = { group: "test.argosy.dev", kind: "Thing", version: "v1" };
  const gone = review({ operation: "DELETE", kind, oldObject: thing("a", {}), object: null });
  expect(await post("/review", gone)).toContain('"response":{"uid":"u","allowed":true}');
  // Objects of no shape at all reach nobody's check.
  expect(await post("/complete", review({ operation: "CREATE", kind, object: 7 }))).toContain('"allowed":true');

  const renewed = await authority.issueServer([host]);
  server.setCertificate(renewed.certPem, renewed.keyPem);
  expect(await post("/review", gone)).toContain('"allowed":true');
});
