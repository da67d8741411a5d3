import { type TestContext, test } from "vitest";

type Body = (context: TestContext) => unknown;

/** How a test is declared; the time limit is in milliseconds. */
export type DeclareTest = (name: string, body: Body, timeoutMs?: number) => void;

/** `test` where there is no reason against it; else the test is skipped and the runner's output says why. */
export function unless(reason: string | undefined): DeclareTest {
  if (reason === undefined) return (name, body, timeoutMs) => test(name, body, timeoutMs);
  return (name) => test(name, (context) => context.skip(`skipped, because ${reason}`));
}
