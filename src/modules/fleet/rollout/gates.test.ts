import { createServer } from "node:http";
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { type Counts, judge, judgeCounts, NO_COUNTS, quantileMs, since, sum } from "../../../kernel/gates/index.js";
import { countsOfModelServer } from "./exposition.js";
import { faultOfGate } from "./gates.js";
import type { GateSpec } from "./kind.js";
import { askPrometheus } from "./prometheus.js";
import { wavesOf } from "./waves.js";

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const counts = (requests: number, good: number, within: readonly [number, number][] = []): Counts => ({
  requests,
  good,
  within: within.map(([boundMs, count]) => ({ boundMs, count })),
});
const success: GateSpec = { name: "ok", source: "Gateway", metric: "SuccessRate", min: 0.99, minRequests: 100 };

test("a success rate waits for enough requests, then holds or fails", () => {
  expect(judgeCounts(success, "edge", counts(99, 0))).toMatchObject({ verdict: "Waiting", cluster: "edge" });
  expect(judgeCounts(success, "edge", counts(100, 99))).toMatchObject({ verdict: "Passed", value: 0.99 });
  expect(judgeCounts(success, "edge", counts(1000, 989))).toMatchObject({
    verdict: "Failed",
    value: 0.989,
    message: "SuccessRate is 0.989 of 1000 requests; at least 0.99 is asked for",
  });
});

test("a quantile is linear inside its bucket, and above the last bound it is too much for any limit", () => {
  const histogram = counts(100, 100, [
    [10, 50],
    [100, 90],
    [1000, 100],
  ]);
  expect(quantileMs(histogram, 0.5)).toBe(10);
  expect(quantileMs(histogram, 0.99)).toBeCloseTo(910);
  const p99: GateSpec = { name: "fast", source: "Gateway", metric: "P99", max: 250 };
  expect(judgeCounts(p99, "edge", histogram)).toMatchObject({ verdict: "Failed", value: 910 });
  expect(judgeCounts(p99, "edge", counts(100, 100, [[10, 50]]))).toMatchObject({ verdict: "Failed" });
});

test("what a source counted before does not count; one that began anew counts from nothing", () => {
  const before = counts(100, 40, [[10, 30]]);
  expect(since(counts(150, 90, [[10, 75]]), before)).toEqual(counts(50, 50, [[10, 45]]));
  expect(since(counts(20, 20, [[10, 20]]), before)).toEqual(counts(20, 20, [[10, 20]]));
  expect(since(before, undefined)).toBe(before);
});

test("the sum of sources has the quantiles of all their requests together", () => {
  const source = fc.array(fc.integer({ min: 1, max: 999 }), { minLength: 1, maxLength: 30 });
  const bounds = [10, 100, 1000];
  const count = (durations: readonly number[]): Counts =>
    counts(
      durations.length,
      durations.length,
      bounds.map((bound) => [bound, durations.filter((one) => one <= bound).length]),
    );
  fc.assert(
    fc.property(source, source, (one, other) => {
      expect(sum([count(one), NO_COUNTS, count(other)])).toEqual(count([...one, ...other]));
    }),
  );
});

test("every number of a vector must pass; without a number there is no verdict", () => {
  const gate: GateSpec = { name: "q", source: "Prometheus", max: 5 };
  expect(judge(gate, "edge", [1, 7, 2], "")).toMatchObject({ verdict: "Failed", value: 7 });
  expect(judge(gate, "edge", [1, 2], "")).toMatchObject({ verdict: "Passed" });
  expect(judge(gate, "edge", [1, Number.NaN], "").verdict).toBe("Waiting");
  expect(judge(gate, "edge", [Number.NaN, 7], "").verdict).toBe("Failed");
  expect(judge(gate, "edge", [], "")).toMatchObject({ verdict: "Waiting", message: "no value was seen" });
  expect(judge(gate, "edge", [Number.NaN], "").message).toBe("the value is no number (NaN)");
});

test("gates that cannot be asked are named", () => {
  expect(faultOfGate({ source: "Gateway", min: 1 })).toContain("no metric");
  expect(faultOfGate({ source: "Gateway", metric: "P99" })).toContain("neither min nor max");
  expect(faultOfGate({ source: "Prometheus", min: 1 })).toContain("prometheus.query");
  expect(faultOfGate({ source: "Prometheus", min: 1, prometheus: {}, metric: "P99" })).toContain("do not go with it");
  expect(faultOfGate({ source: "ModelServer", metric: "P50", max: 1 })).toBe("");
  expect(faultOfGate({ source: "Gateway", metric: "SuccessRate", min: 99 })).toContain("between 0 and 1");
  expect(faultOfGate({ source: "Gateway", metric: "P99", min: 5, max: 1 })).toContain("nothing passes it");
});

test("a model server's page is read whole, over all its models", () => {
  const page = `# HELP argosy_modelserver_inferences_total Inference requests answered.
# TYPE argosy_modelserver_inferences_total counter
argosy_modelserver_inferences_total{model="a\\"}",version="1"} 90
argosy_modelserver_inferences_total{model="b",version="1"} 10
argosy_modelserver_inference_failures_total{model="b",version="1"} 5
argosy_modelserver_inference_seconds_bucket{model="a\\"}",version="1",le="0.005"} 80
argosy_modelserver_inference_seconds_bucket{model="b",version="1",le="0.005"} 10
argosy_modelserver_inference_seconds_bucket{model="a\\"}",version="1",le="0.01"} 90
argosy_modelserver_inference_seconds_bucket{model="b",version="1",le="0.01"} 10
argosy_modelserver_inference_seconds_bucket{model="b",version="1",le="+Inf"} 10
`;
  expect(countsOfModelServer(page)).toEqual(
    counts(105, 100, [
      [5, 90],
      [10, 100],
    ]),
  );
  expect(countsOfModelServer("")).toBe(NO_COUNTS);
});

/** An HTTP server that always gives one answer; its address. */
async function answering(status: number, body: string): Promise<string> {
  const server = createServer((_request, response) => response.writeHead(status).end(body));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(
    () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  const bound = server.address();
  return `http://127.0.0.1:${typeof bound === "object" && bound !== null ? bound.port : 0}`;
}

test("answers of Prometheus that are no value are no verdict either, and say why", async () => {
  const { signal } = new AbortController();
  const ask = async (status: number, body: string) => askPrometheus(await answering(status, body), "up", signal);
  await expect(ask(400, '{"status":"error","error":"parse error: unexpected end"}')).rejects.toThrow(
    "refused the query: parse error: unexpected end",
  );
  await expect(ask(200, "<html>")).rejects.toThrow("answered no JSON");
  await expect(ask(200, '{"status":"success","data":{"resultType":"matrix","result":[]}}')).rejects.toThrow("matrix");
  await expect(ask(200, `{"a":"${"x".repeat(1024 * 1024)}"}`)).rejects.toThrow("longer than");
  await expect(askPrometheus("http://127.0.0.1:1", "up", signal)).rejects.toThrow("does not answer");
});

test("waves take clusters by name, label and number, each once; who is left comes last, who leaves after that", () => {
  const labels = (cluster: string) => (cluster.startsWith("e") ? { tier: "edge" } : { tier: "core" });
  const waves = wavesOf(
    [
      { name: "canary", clusters: ["c2", "unknown"] },
      { name: "edges", selector: { matchLabels: { tier: "edge" } }, count: 1 },
      { name: "half", count: "50%" },
      { name: "nobody", clusters: ["c2"] },
    ],
    { staying: ["c3", "c1", "c2", "e2", "e1", "c4"], leaving: ["old"] },
    labels,
  );
  expect(waves.map(({ name, clusters }) => `${name}: ${clusters.join(" ")}`)).toEqual([
    "canary: c2",
    "edges: e1",
    "half: c1 c3 c4",
    "rest: e2",
    "leaving: old",
  ]);
});
