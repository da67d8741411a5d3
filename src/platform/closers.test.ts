import { expect, test } from "vitest";
import { Closers } from "./closers.js";

test("what was started last ends first, one after the other, once", async () => {
  const ended: string[] = [];
  const closers = new Closers();
  closers.add(async () => void ended.push("store"));
  closers.add(async () => {
    await new Promise((resolve) => setImmediate(resolve));
    ended.push("server");
  });

  await closers.close();
  await closers.close();

  expect(ended).toEqual(["server", "store"]);
});

test("one that cannot end does not keep the others; the first failure is thrown", async () => {
  const ended: string[] = [];
  const closers = new Closers();
  closers.add(async () => void ended.push("store"));
  closers.add(async () => Promise.reject(new Error("second")));
  closers.add(async () => Promise.reject(new Error("first")));

  await expect(closers.close()).rejects.toThrow("first");
  expect(ended).toEqual(["store"]);
});
