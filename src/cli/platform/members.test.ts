import { expect, test } from "vitest";
import { parseMembers } from "./members.js";

test("reads names and numbers of nodes", () => {
  expect(parseMembers("cloud=2,edge,far-edge")).toEqual([
    { name: "cloud", nodes: 2 },
    { name: "edge", nodes: 1 },
    { name: "far-edge", nodes: 1 },
  ]);
});

test.each(["Cloud", "a=b", "a=1=2", "hub", "a,a", "a=-1", "a=1000", "../x"])("refuses %s", (text) => {
  expect(() => parseMembers(text)).toThrow(/member/);
});
