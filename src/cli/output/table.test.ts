import { expect, test } from "vitest";
import { parseOutputFormat, renderDocument, withoutManagedFields } from "./print.js";
import { formatAge, renderTable } from "./table.js";

test("columns are as wide as their widest cell, lines end where their text does", () => {
  expect(
    renderTable(
      ["name", "status"],
      [
        ["a-long-name", ""],
        ["b", "Ready"],
      ],
    ),
  ).toBe("NAME          STATUS\na-long-name\nb             Ready\n");
});

test("ages are short, as kubectl's", () => {
  const second = 1000;
  const minute = 60 * second;
  const hour = 60 * minute;

  expect(
    [-5, 119 * second, 120 * second, 125 * second, 9 * minute + 59 * second, 10 * minute + 1, 179 * minute].map(
      formatAge,
    ),
  ).toEqual(["0s", "119s", "2m", "2m5s", "9m59s", "10m", "179m"]);
  expect([3 * hour, 47 * hour, 48 * hour, 400 * 24 * hour].map(formatAge)).toEqual(["3h", "47h", "2d", "400d"]);
});

test("documents are JSON, or YAML without anchors and broken lines", () => {
  const shared = { a: "word ".repeat(40).trim() };

  expect(renderDocument({ a: 1 }, "json")).toBe('{\n  "a": 1\n}\n');
  expect(renderDocument({ one: shared, two: shared }, "yaml")).toBe(`one:\n  a: ${shared.a}\ntwo:\n  a: ${shared.a}\n`);
  expect(withoutManagedFields({ metadata: { name: "a", managedFields: [] }, spec: {} })).toEqual({
    metadata: { name: "a" },
    spec: {},
  });
});

test("an unknown format is refused with those there are", () => {
  expect(parseOutputFormat("wide")).toBe("wide");
  expect(() => parseOutputFormat("csv")).toThrow(
    'unknown output format "csv": use one of table, wide, json, yaml, name',
  );
});
