import { expect, test } from "vitest";
import { differences } from "./real/fuzz/compare.js";
import { furnish } from "./real/fuzz/run.js";
import { openOwn } from "./real/own.js";
import { readCases, replay } from "./real/record.js";

test("answers what a real API server was recorded to answer", async () => {
  const own = await openOwn();
  await furnish(own);
  const wrong: string[] = [];
  for (const [index, recorded] of readCases().entries()) {
    const answer = await replay(own, recorded, `t${index}x`);
    const lines = answer === undefined ? ["no answer"] : differences(recorded.answer, answer);
    const request = recorded.steps.at(-1);
    if (lines.length > 0)
      wrong.push(`seed ${recorded.seed}: ${request?.method} ${request?.path}\n  ${lines.join("\n  ")}`);
  }
  await own.close();

  expect(wrong.join("\n")).toBe("");
}, 120_000);
