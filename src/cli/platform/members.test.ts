import { expect, test } from "vitest";
import { membersOf, parseMembers } from "./members.js";

test("reads names and numbers of nodes", () => {
  expect(parseMembers("cloud=2,edge,far-edge")).toEqual([
    { name: "cloud", nodes: 2 },
    { name: "edge", nodes: 1 },
    { name: "far-edge", nodes: 1 },
  ]);
});

test.each(["Cloud", "a=b", "a=1=2", "hub", "a,a", "a=-1", "a=1000", "a=", "a=1e1", "a= 1", "../x"])(
  "refuses %s",
  (text) => {
    expect(() => parseMembers(text)).toThrow(/member/);
  },
);

test("a start that names none has the members of the last one, else those of the example", () => {
  const cluster = { api: "", ingress: "", nodes: ["a-1", "a-2"] };
  const last = {
    clusters: [
      { ...cluster, name: "hub", role: "hub", nodes: [] },
      { ...cluster, name: "a", role: "member" },
      { ...cluster, name: "b", role: "member", nodes: [] },
    ],
    ingress: "",
    northbound: "",
    northboundFromPods: "",
    artifacts: "",
    kubeconfig: "",
    caFile: "",
  } as const;

  expect(membersOf(last)).toBe("a=2,b=0");
  expect(parseMembers(membersOf(undefined)).map(({ name }) => name)).toEqual(["cloud", "edge", "far-edge"]);
});

test("more members than a machine carries are refused with their number", () => {
  const many = Array.from({ length: 51 }, (_, index) => `m${index}`).join(",");

  expect(() => parseMembers(many)).toThrow("51 members: one machine carries up to 50");
});
