import { expect, test } from "vitest";
import type { KubeObject } from "../kinds/index.js";
import { ToldTwice } from "./told-twice.js";

const made = (name: string): KubeObject => ({
  apiVersion: "v1",
  kind: "A",
  metadata: { name, uid: `u-${name}`, resourceVersion: "1", creationTimestamp: "2026-01-01T00:00:00Z" },
});
const lineOf = (type: string, object: KubeObject): string => JSON.stringify({ type, object });

function reader() {
  const told = new ToldTwice<KubeObject>();
  const parsed: string[] = [];
  const read = (line: string) =>
    told.event(line, (text) => {
      const event = JSON.parse(text) as { readonly type: string; readonly object: KubeObject };
      parsed.push(event.object.metadata.name);
      return event;
    });
  return { told, parsed, read };
}

test("an event in the text of an answer is not parsed, and is an object of its own", () => {
  const { told, parsed, read } = reader();
  const a = made("a");
  told.keepAnswer(`${JSON.stringify(a)}\n`, a);

  const event = read(lineOf("MODIFIED", a));
  expect(event).toEqual({ type: "MODIFIED", object: a });
  expect(event.object).not.toBe(a);
  expect(parsed).toEqual([]);
  read(lineOf("MODIFIED", a));
  read(lineOf("DELETED", a));
  expect(parsed).toEqual(["a", "a"]);
});

test("an answer in the text of an event has its object, whatever became of the event's", () => {
  const { told, read } = reader();
  const a = made("a");
  told.begin();
  const event = read(lineOf("ADDED", a));
  event.object.metadata = { ...a.metadata, name: "other" };

  expect(told.answered(JSON.stringify(a))).toEqual(a);
  expect(told.answered(JSON.stringify(a))).toBeUndefined();
  told.end();
  read(lineOf("ADDED", made("b")));
  expect(told.answered(JSON.stringify(made("b")))).toBeUndefined();
});

test("what is told once is forgotten", () => {
  const { told, parsed, read } = reader();
  for (let index = 0; index < 200; index++) told.keepAnswer(JSON.stringify(made(`n${index}`)), made(`n${index}`));

  read(lineOf("ADDED", made("n0")));
  read(lineOf("ADDED", made("n199")));
  expect(parsed).toEqual(["n0"]);
});
