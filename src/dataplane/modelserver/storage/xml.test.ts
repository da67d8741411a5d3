import { expect, test } from "vitest";
import { elements, textIn } from "./xml.js";

test("elements and texts are found, with attributes, entities and names that begin alike", () => {
  const page =
    '<R xmlns="x"><KeyCount>2</KeyCount><Contents><Key>a&amp;b&#x41;&#66;&nope;</Key></Contents><Contents a="1"><Key  >c</Key></Contents></R>';
  expect(elements(page, "Contents").map((entry) => textIn(entry, "Key"))).toEqual(["a&bAB&nope;", "c"]);
  expect(textIn(page, "Key")).toBe("a&bAB&nope;");
  expect(textIn(page, "Contents")).toBe("");
  expect(textIn(page, "Size")).toBe("");
});

test.each([
  ["elements that never end", "<Contents>"],
  ["tags that never end", "<Contents "],
  ["tags without an element's end", "<Contents a>x</Content"],
  ["names that begin alike", "<ContentsX></Contents>"],
  ["entities that never end", "&amp"],
])("%s take no longer than their length", (_what, piece) => {
  // Twenty million characters: a reader that starts over at each tag would need hours.
  const text = piece.repeat(Math.ceil(20_000_000 / piece.length));
  expect(elements(text, "Contents").length).toBe(0);
  expect(textIn(text, "Contents")).toBe("");
  expect(textIn(`<Contents>${"&amp".repeat(1000)}</Contents>`, "Contents")).toHaveLength(4000);
});
