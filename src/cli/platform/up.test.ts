import { expect, test } from "vitest";
import type { Platform } from "../../platform/index.js";
import { InterruptedError } from "../errors.js";
import { testTerminal } from "../output/terminal.fixture.js";
import type { EndRequest } from "./signals.js";
import { bringUpUnlessAsked } from "./up.js";

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
