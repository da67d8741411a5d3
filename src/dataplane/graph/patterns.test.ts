import { expect, test } from "vitest";
import { createPropagation, isRisky } from "./patterns.js";

test.each([
  "(x|x)*y",
  "(?:x|x)+y",
  "(x*)*y",
  "(x|xx){9}y",
  "x*x*x*x*y",
  `${"x?".repeat(40)}y`,
  "(x)\\1",
  "(?=x)x",
  "[",
])("%s could take very long on a name that a client chose, or is none", (pattern) => {
  expect(isRisky(pattern)).not.toBeUndefined();
  expect(() => createPropagation([pattern])).toThrow("header pattern");
});

test.each(["^x-", "X-User", "^x-(user|team)-id$", "^x-.*-id-.*$", "Authorization", "^x-?y"])(
  "%s is taken",
  (pattern) => {
    expect(isRisky(pattern)).toBeUndefined();
  },
);
