import { expect, test } from "vitest";
import type { Ingress } from "../../kernel/kinds/index.js";
import { policiesIn } from "./ingress-policies.js";

const read = (annotations: Record<string, string>) =>
  policiesIn({ metadata: { name: "a", annotations } } as unknown as Ingress);

test("annotations of an Ingress keep clients where they are, bound a request, and name who gets copies", () => {
  expect(read({})).toEqual({ route: {}, shadows: [], faults: [] });
  expect(
    read({
      "argosy.dev/affinity": "cookie=model",
      "argosy.dev/timeout-seconds": "2.5",
      "argosy.dev/shadows": '{"next":10}',
      "argosy.dev/pin": '{"header":"x-model","values":{"next":"service-b"}}',
    }),
  ).toEqual({
    route: {
      pin: { by: "header", name: "x-model", backends: { next: "service-b" } },
      affinity: { by: "cookie", name: "model", ttlSeconds: 0 },
      timeouts: { requestMs: 2500, responseMs: 2500 },
    },
    shadows: [{ service: "next", percent: 10 }],
    faults: [],
  });
});

test("what is none of these is ignored, and said", () => {
  const { route, shadows, faults } = read({
    "argosy.dev/affinity": "cookie",
    "argosy.dev/timeout-seconds": "0",
    "argosy.dev/shadows": '{"next":101}',
    "argosy.dev/pin": '{"header":"a","cookie":"b","values":{}}',
  });

  expect([route, shadows]).toEqual([{}, []]);
  expect(faults.map((fault) => fault.split(" ")[1])).toEqual([
    "argosy.dev/affinity",
    "argosy.dev/pin",
    "argosy.dev/timeout-seconds",
    "argosy.dev/shadows",
  ]);
});
