import { expect, test } from "vitest";
import { undescribedFields } from "../kernel/kinds/index.js";
import { ownKinds } from "./agent.js";

test.each(ownKinds().map((definition) => [definition.kind, definition] as const))(
  "every field of %s says what it means",
  (_kind, definition) => {
    expect(definition.description).not.toBe("");
    expect(undescribedFields(definition)).toEqual([]);
  },
);

test("all kinds are looked at", () => {
  expect(ownKinds().map(({ kind }) => kind)).toEqual(
    expect.arrayContaining(["HyperMLService", "HeadIngress", "Work", "Cluster", "MLService", "MLServiceRuntime"]),
  );
});
