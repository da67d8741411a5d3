import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { systemClock } from "../../kernel/clock/index.js";
import type { Platform } from "../../platform/index.js";
import { temporaryFolder } from "../../testing/folder.js";
import { InterruptedError } from "../errors.js";
import { StepList } from "../output/steps.js";
import { testTerminal } from "../output/terminal.fixture.js";
import type { EndRequest } from "./signals.js";
import { bringUp, bringUpUnlessAsked, up } from "./up.js";

/** A platform that only notes how it was closed. */
function fakePlatform(closed: { keepPods: boolean }[]): Platform {
  return { close: async (how: { keepPods: boolean }) => void closed.push(how) } as unknown as Platform;
}

test("asked to end while it starts, it lets the start come through and leaves nothing running", async () => {
  for (const [request, keepPods] of [
    ["stop", false],
    ["leave", true],
  ] as const) {
    const closed: { keepPods: boolean }[] = [];
    const terminal = testTerminal();
    const ending = Promise.resolve<EndRequest>(request);
    const starting = bringUpUnlessAsked(terminal, ending, async () => {
      await ending;
      return fakePlatform(closed);
    });

    await expect(starting).rejects.toBeInstanceOf(InterruptedError);
    expect(closed).toEqual([{ keepPods }]);
    expect(terminal.stderr()).toContain("Ctrl-C again ends at once");
  }
});

test("not asked, it is up and nothing is said", async () => {
  const closed: { keepPods: boolean }[] = [];
  const terminal = testTerminal();
  const platform = fakePlatform(closed);

  expect(await bringUpUnlessAsked(terminal, new Promise(() => undefined), async () => platform)).toBe(platform);
  expect([closed, terminal.stderr()]).toEqual([[], ""]);
});

test.each([
  [{ without: "scheduler,modles" }, /there is no part "modles" to leave out; .*; did you mean "modules"\?/],
  [{ runtime: "podmann" }, /podmann/],
  [{ members: "a=b" }, /"b" is no number of nodes/],
  [{ encryptionConfig: "/nowhere.yaml" }, /nowhere/],
])("a slip beside --fresh is told before anything is forgotten: %o", async (slip, told) => {
  const data = temporaryFolder("up");
  writeFileSync(join(data, "records.db"), "");
  const terminal = testTerminal();
  const options = { data, fresh: true, ...slip };

  await expect(bringUp(options, new StepList(terminal, systemClock))).rejects.toThrow(told);
  const detached = up({ terminal, exit: () => undefined }, { ...options, detach: true });
  await expect(detached).rejects.toThrow(told);
  expect(existsSync(join(data, "records.db"))).toBe(true);
});
