import { expect, test } from "vitest";
import { virtualClock } from "../kernel/clock/index.js";
import { tellUnread } from "./agent-node.js";

test("a node that waits for rights says which, and where to get them; one that has them says nothing", async () => {
  const clock = virtualClock(0);
  const said: string[] = [];
  const note = (text: string): void => void said.push(text);
  const unread = () => new Map([["namespaces", "namespaces is forbidden"]]);
  tellUnread({ name: "box-1", clock, unread: () => new Map(), note });
  tellUnread({ name: "box-1", clock, unread, note }).cancel();
  await clock.runUntilIdle();
  expect(said).toEqual([]);
  tellUnread({ name: "box-1", clock, unread, note });
  await clock.runUntilIdle();
  expect(said).toEqual([
    "waits: namespaces cannot be read (namespaces is forbidden); `argosy agent rbac --level node --node-name box-1` prints the rights that a node needs",
  ]);
});
