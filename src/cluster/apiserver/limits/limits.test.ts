import { expect, test } from "vitest";
import { virtualClock } from "../../../kernel/clock/index.js";
import type { RequestInfo } from "../types.js";
import { createLimits, type Ticket } from "./index.js";

const ann = { username: "ann", groups: ["system:authenticated"] };
const bob = { username: "bob", groups: ["system:authenticated"] };
const master = { username: "root", groups: ["system:masters"] };
const request = (verb: RequestInfo["verb"], more: Partial<RequestInfo> = {}): RequestInfo => ({
  isResource: true,
  verb,
  path: "/api/v1/pods",
  group: "",
  version: "v1",
  resource: "pods",
  subresource: "",
  namespace: "",
  name: "",
  ...more,
});
const isIn = (entered: Ticket | number | undefined) => typeof entered === "object";

test("a user has so many requests a second, twice as many at once, and is told how long to wait", async () => {
  const clock = virtualClock();
  const limits = createLimits({ requestsPerSecond: 5, readOnly: 0, mutating: 0 }, clock);
  const enter = () => limits.enter(ann, request("get"));

  for (let count = 0; count < 10; count++) expect(isIn(enter())).toBe(true);
  expect(enter()).toBe(1);
  expect(isIn(limits.enter(bob, request("get")))).toBe(true);
  await clock.advance(1000);
  for (let count = 0; count < 5; count++) expect(isIn(enter())).toBe(true);
  expect(enter()).toBe(1);
});

test("one user cannot hold everything that may be under way; what is given back can be had again", () => {
  const limits = createLimits({ requestsPerSecond: 0, readOnly: 100, mutating: 10 }, virtualClock());
  const fill = (user: typeof ann, verb: RequestInfo["verb"]) => {
    const tickets: Ticket[] = [];
    for (;;) {
      const entered = limits.enter(user, request(verb));
      if (typeof entered !== "object") return tickets;
      tickets.push(entered);
    }
  };

  const anns = fill(ann, "list");
  expect(anns).toHaveLength(50);
  const bobs = fill(bob, "list");
  expect(bobs).toHaveLength(25);
  // Reads leave writes alone.
  expect(fill(ann, "create")).toHaveLength(5);
  for (const ticket of [...anns, ...anns, ...bobs]) ticket.leave();
  expect(fill(bob, "list")).toHaveLength(50);
});

test("masters, health checks, watches and streams do not count", () => {
  const limits = createLimits({ requestsPerSecond: 1, readOnly: 1, mutating: 1 }, virtualClock());
  for (let count = 0; count < 100; count++) {
    expect(limits.enter(master, request("create"))).toBeUndefined();
    expect(limits.enter(ann, request("watch"))).toBeUndefined();
    for (const subresource of ["exec", "log", "proxy", "portforward", "attach"])
      expect(limits.enter(ann, request("get", { name: "p", subresource }))).toBeUndefined();
    expect(limits.enter(ann, request("get", { isResource: false, path: "/readyz" }))).toBeUndefined();
  }
});

test("answers that nobody takes stop further reads until they are taken", () => {
  const limits = createLimits({ requestsPerSecond: 0, readOnly: 100, mutating: 100 }, virtualClock());
  const slow = limits.enter(ann, request("list"));
  if (typeof slow !== "object") throw new Error("was refused");
  slow.holds(2 ** 31);

  expect(limits.enter(bob, request("list"))).toBe(1);
  expect(isIn(limits.enter(bob, request("create")))).toBe(true);
  slow.leave();
  expect(isIn(limits.enter(bob, request("list")))).toBe(true);
});
