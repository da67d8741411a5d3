import { afterAll, onTestFinished, TestRunner } from "vitest";

/**
 * Ends something when the test ends that says so, or, said outside of tests, those of the file or the `describe` around: what began last ends first.
 * Not for `beforeAll`.
 */
export function atEnd(end: () => unknown): void {
  if (TestRunner.getCurrentTest() === undefined) afterAll(async () => void (await end()));
  else onTestFinished(async () => void (await end()));
}
