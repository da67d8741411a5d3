import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../../src/kernel/assets/index.js";
import { readScenario, readScenarioFile } from "./scenario.js";
import { runScenario } from "./simulation.js";

const folder = join(packageRoot(), "tests", "simulation", "scenarios");
const small = (more: object) =>
  readScenario(
    JSON.stringify({
      name: "small",
      about: "a test",
      clusters: [{ name: "edge", count: 4 }],
      workloads: [{ name: "settings", kind: "ConfigMap", count: 5, placement: { clusterAffinity: {} } }],
      expect: { convergedWithin: "1m" },
      ...more,
    }),
    "small",
  );

const scenarios = readdirSync(folder).map((file) => ({ file, scenario: readScenarioFile(join(folder, file)) }));
// `npm run test:scale` has the others.
for (const { file, scenario } of scenarios.filter(({ scenario: { large } }) => !large))
  test(file, async () => {
    const report = await runScenario(scenario);

    expect(report.faults).toEqual([]);
    expect(report.convergedMs).toBeDefined();
  }, 300_000);

test("all scenarios can be read", () => {
  for (const { scenario } of scenarios) expect(scenario.about).not.toBe("");
});

test("one seed, one way: the same writes at the same times, the same objects at the end; another seed, another way", async () => {
  const timeline = [
    { at: "2s", cut: { count: 1, for: "20s" } },
    { at: "3s", change: { share: 0.5 } },
    { at: "4s", killHub: { for: "1s" } },
    { at: "10s", lose: { loss: 0.2, for: "20s" } },
  ];
  const scenario = small({ timeline, expect: { convergedWithin: "3m" } });
  const [first, again, other] = [
    await runScenario(scenario),
    await runScenario(scenario),
    await runScenario(scenario, 2),
  ];

  expect([first.faults, again.faults, other.faults]).toEqual([[], [], []]);
  expect(again).toEqual(first);
  expect(other.trace).not.toBe(first.trace);
}, 120_000);

test("what does not come true is told: a Work that is refused for good, an expectation that fails, a fleet that never converges", async () => {
  const refuse = { at: "1s", refuse: { count: 1, manifests: 1 } };
  const change = { at: "2s", change: {} };
  const refused = await runScenario(small({ timeline: [refuse, change] }));
  const known = await runScenario(
    small({ timeline: [refuse, change], expect: { convergedWithin: "1m", unapplied: 5 } }),
  );
  const wrong = await runScenario(small({ timeline: [{ at: "10s", look: { notReady: 2 } }] }));

  expect(refused.faults[0]).toMatch(/^after 60000 ms: 5 of 24 works are not applied/);
  expect(known.faults).toEqual([]);
  expect(wrong.faults).toEqual(["at 10s: 0 Clusters are not ready instead of 2"]);
}, 120_000);

test("a scenario that cannot be carried out is refused, with the path of what is wrong", () => {
  const faulty = {
    clusters: [{ name: "edge", count: 0, weather: {} }],
    workloads: [{ name: "digits", kind: "HyperMLService", count: 1 }],
    timeline: [{ at: "soon", cut: { of: "egde" } }, { at: "1s" }],
  };
  const told = (() => {
    try {
      small(faulty);
    } catch (error) {
      return String(error);
    }
    return "";
  })();

  for (const part of [
    "clusters[0].count: ",
    "clusters[0].weather is not known",
    "timeline[0].at: ",
    "timeline[0].cut.of: there is no group egde",
    "timeline[1]: nothing happens",
    "workloads digits: a HyperMLService has spread",
  ])
    expect(told).toContain(part);
});
