import { expect, test } from "vitest";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { graphFaults } from "./validate.js";

test("a graph with very many faults is refused with the first of them, in words that are no longer than what was sent", () => {
  const nodes: JsonObject = { root: { routerType: "Switch", steps: [] } };
  for (let index = 0; index < 1100; index++)
    nodes[`n${index}`] = { routerType: "Switch", steps: [{ nodeName: `x${index}zzzzzz` }] };
  const many = { nodes: { root: { routerType: "Switch", steps: Array.from({ length: 4000 }, () => ({})) } } };

  const faults = graphFaults({ nodes });
  expect(faults).toHaveLength(50);
  expect(JSON.stringify(faults).length).toBeLessThan(JSON.stringify(nodes).length);
  expect(faults.some(({ message }) => message.includes("and 1081 others"))).toBe(true);
  expect(graphFaults(many).length).toBeLessThan(120);
});
