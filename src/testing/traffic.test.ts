import { expect, test } from "vitest";
import type { Transport } from "../kernel/client/index.js";
import { TinyApi } from "./tiny-api.js";
import { Traffic } from "./traffic.js";

const maps = "/api/v1/namespaces/demo/configmaps";
const map = (name: string): string => JSON.stringify({ metadata: { name, namespace: "demo" } });

/** A server that counts what traffic asks it for itself. */
function stage(traffic: Traffic) {
  const api = new TinyApi();
  let looks = 0;
  const plain: Transport = {
    request: (request) => {
      looks += 1;
      return api.request(request);
    },
    upgrade: () => api.upgrade(),
    close: () => api.close(),
  };
  return { api, through: traffic.through(api, plain), looks: () => looks };
}

async function read(transport: Transport, path: string): Promise<void> {
  for await (const _chunk of (await transport.request({ method: "GET", path })).body);
}

test("time waits for servers where something was written or watched since they were at rest, and for no others", async () => {
  const traffic = new Traffic();
  const [written, other] = [stage(traffic), stage(traffic)];

  await read(written.through, maps);
  await traffic.rest();
  expect(written.looks()).toBe(0);

  await written.through.request({ method: "POST", path: maps, body: map("a") });
  await traffic.rest();
  const once = written.looks();
  expect(once).toBeGreaterThan(0);
  await traffic.rest();
  expect(written.looks()).toBe(once);
  expect(other.looks()).toBe(0);
});

test("a watch that brings something later is waited for again", async () => {
  const traffic = new Traffic();
  const { api, through, looks } = stage(traffic);
  const { body } = await through.request({ method: "GET", path: `${maps}?watch=true&resourceVersion=100` });
  await traffic.rest();
  const begun = looks();
  expect(begun).toBeGreaterThan(0);

  // Somebody else writes there.
  await api.request({ method: "POST", path: maps, body: map("a") });
  await body[Symbol.asyncIterator]().next();
  await traffic.rest();
  expect(looks()).toBeGreaterThan(begun);
});
