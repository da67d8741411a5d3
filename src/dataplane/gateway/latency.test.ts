import { expect, test } from "vitest";
import { quantileMs } from "../../kernel/gates/index.js";
import { countsByGateway } from "./counts.js";
import { LATENCY_BOUNDS_MS, LatencyClasses, METRIC_BOUNDS_MS } from "./latency.js";

test("quantiles of what was counted are right within a quarter, whatever it took", () => {
  for (let took = 1.01; took < 9000; took *= 1.07) {
    const classes = new LatencyClasses();
    for (let count = 0; count < 100; count++) classes.add(took);
    const counts = countsByGateway({ name: "a", byClass: {}, requests: 100, failures: 0, latency: classes.report() });
    for (const quantile of [0.5, 0.99]) {
      const share = quantileMs(counts, quantile) / took;
      expect(share).toBeGreaterThan(0.77);
      expect(share).toBeLessThan(1.28);
    }
  }
});

test("classes rise, hold every bound of the metrics, and are told where they are not empty", () => {
  expect(LATENCY_BOUNDS_MS).toEqual([...new Set(LATENCY_BOUNDS_MS)].sort((a, b) => a - b));
  expect(METRIC_BOUNDS_MS.filter((bound) => !LATENCY_BOUNDS_MS.includes(bound))).toEqual([]);
  const classes = new LatencyClasses();
  for (const took of [0.1, 1, 302, 302, 20_000]) classes.add(took);
  expect(classes.report()).toEqual({ 1: 2, 315: 2 });
  expect([classes.upTo(250), classes.upTo(500), classes.upTo(10_000)]).toEqual([2, 4, 4]);
});

test("classes of a gateway of another version count too", () => {
  const { within } = countsByGateway({
    name: "a",
    byClass: {},
    requests: 3,
    failures: 0,
    latency: { "7": 2, "250": 1 },
  });
  const countAt = (bound: number): number | undefined => within.find(({ boundMs }) => boundMs === bound)?.count;
  expect([countAt(6.3), countAt(7), countAt(200), countAt(250), countAt(10_000)]).toEqual([0, 2, 2, 3, 3]);
});
