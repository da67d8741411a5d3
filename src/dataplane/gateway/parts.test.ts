import fc from "fast-check";
import { expect, test } from "vitest";
import { Backend, BackendStats, Endpoint, Route } from "./balance.js";
import { splitAddress } from "./place-table.js";
import { parseTable } from "./table.js";
import { UpstreamPool } from "./upstream.js";

test("any run of as many choices as the weights add up to splits exactly by weight, wherever it begins", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 6 }),
      fc.nat(50),
      (weights, warmUp) => {
        const table = parseTable({
          version: 1,
          listeners: [{ name: "l", host: "h", port: 0 }],
          routes: [
            {
              id: "r",
              listener: "l",
              backends: weights.map((weight, index) => ({ name: String(index), addresses: ["h:1"], weight })),
            },
          ],
        }).routes[0];
        if (table === undefined) throw new TypeError("no route");
        const pool = new UpstreamPool("h:1", undefined);
        const route = new Route(
          table,
          table.backends.map(
            (backend) => new Backend(backend, [new Endpoint("h:1", pool, backend)], new BackendStats()),
          ),
        );
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        const counts = weights.map(() => 0);
        if (total === 0) expect(route.choose()).toBeUndefined();
        for (let index = 0; index < total * (warmUp + 1); index++) {
          const name = Number(route.choose()?.backend.table.name);
          if (index >= total * warmUp) counts[name] = (counts[name] ?? 0) + 1;
        }
        expect(counts).toEqual(weights.map((weight) => (total === 0 ? 0 : weight)));
      },
    ),
    { numRuns: 50 },
  );
});

test("addresses are host:port, IPv6 in brackets", () => {
  expect(splitAddress("127.0.0.1:80")).toEqual({ host: "127.0.0.1", port: 80 });
  expect(splitAddress("[::1]:8080")).toEqual({ host: "::1", port: 8080 });
  for (const bad of ["", "a", "a:", ":1", "a:0", "a:70000", "::1:80", "a b:1", "a:1/x"])
    expect(splitAddress(bad)).toBeUndefined();
});
