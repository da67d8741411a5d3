import { expect, test } from "vitest";
import { parseParts } from "./parts.js";

test("parts are read in any order, once each", () => {
  expect([...parseParts("modules, nodes,modules")]).toEqual(["modules", "nodes"]);
});

test("a part that there is not is refused, with those there are", () => {
  expect(() => parseParts("nodes,kubelet")).toThrow(
    'there is no part "kubelet" to leave out; there are scheduler, nodes, workloads, modules',
  );
  expect(() => parseParts("nodes,module")).toThrow(/workloads, modules; did you mean "modules"\?$/);
});
