import { expect, test } from "vitest";
import type { GatewayState } from "../../../dataplane/gateway/index.js";
import { virtualClock } from "../../../kernel/clock/index.js";
import { GateWatch, type Watched } from "./gate-watch.js";

const watched = (name: string): Watched => ({
  ...{ uid: name, mark: "1", cluster: "cloud", namespace: "models", name, revision: `${name}-00002` },
  ...{ ingresses: [name], backend: `${name}-00002` },
  gates: [{ name: "success", metric: "SuccessRate", min: 0.9, minRequests: 1 }],
});

/** What the gateway counted of each service. */
const state = (names: readonly string[], requests: number): GatewayState =>
  ({
    routes: names.map((name) => ({
      id: `ingress/cloud/models/${name}/0`,
      backends: [{ name: `${name}-00002`, requests, failures: 0, byClass: { "2xx": requests } }],
    })),
  }) as unknown as GatewayState;

test("however many rollouts there are, the gateway is read once for all of them", async () => {
  const names = Array.from({ length: 100 }, (_, index) => `m${index}`);
  const clock = virtualClock(0);
  let [reads, requests] = [0, 10];
  const watch = new GateWatch({
    gateway: async () => {
      reads += 1;
      return state(names, requests);
    },
    query: undefined,
  });
  const lookAtAll = () =>
    Promise.all(names.map((name) => watch.look(watched(name), { clock, signal: new AbortController().signal })));

  await lookAtAll();
  const first = reads;
  requests = 30;
  await clock.advance(1000);
  const verdicts = await lookAtAll();
  await clock.advance(100);
  await lookAtAll();
  const second = reads;
  await clock.advance(1000);
  await lookAtAll();

  expect([first, second, reads]).toEqual([1, 2, 3]);
  expect(verdicts.map(([verdict]) => verdict?.message)).toEqual(names.map(() => expect.stringContaining("20")));
});

test("a gateway that does not answer makes gates wait, and is asked again", async () => {
  const clock = virtualClock(0);
  let reads = 0;
  const watch = new GateWatch({
    gateway: () => {
      reads += 1;
      return Promise.reject(new Error("away"));
    },
    query: undefined,
  });
  const look = () => watch.look(watched("m"), { clock, signal: new AbortController().signal });

  expect((await look())[0]).toMatchObject({ verdict: "Waiting", message: "away" });
  await look();
  expect(reads).toBe(2);
});
