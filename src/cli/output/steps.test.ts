import { expect, test } from "vitest";
import { virtualClock } from "../../kernel/clock/index.js";
import { StepList, seconds } from "./steps.js";
import { type TestTerminal, testTerminal } from "./terminal.fixture.js";

/** What a person sees at the end: the control sequences (up, erase) carried out. */
function screen(terminal: TestTerminal): string[] {
  const [first = "", ...rest] = terminal.stderr().split("\u001b[");
  return rest.reduce((lines, part) => {
    const up = /^(\d+)A$/.exec(part)?.[1];
    return up === undefined
      ? lines.concat(linesOf(part.replace(/^0J/, "")))
      : lines.slice(0, lines.length - Number(up));
  }, linesOf(first));
}

function linesOf(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}

test("where nobody watches, each step is a line at its begin and one at its end, with its time", async () => {
  const clock = virtualClock();
  const terminal = testTerminal();
  const steps = new StepList(terminal, clock);

  const value = await steps.run("start the nodes", async (step) => {
    step.detail("waiting for cloud");
    await clock.advance(1250);
    return { summary: "4 nodes", value: 4 };
  });
  steps.note("port 8080 is taken");

  expect(value).toBe(4);
  expect(terminal.stderr()).toBe("… start the nodes\n✔ start the nodes: 4 nodes (1.3 s)\n  port 8080 is taken\n");
  expect(terminal.stdout()).toBe("");
  expect(clock.pendingTimers).toBe(0);
});

test("a step that fails is marked with why, and its error goes on", async () => {
  const clock = virtualClock();
  const terminal = testTerminal();

  await expect(
    new StepList(terminal, clock).run("train", async () => {
      await clock.advance(12_400);
      throw new Error("no such image");
    }),
  ).rejects.toThrow("no such image");

  expect(terminal.stderr()).toBe("… train\n✖ train: no such image (12 s)\n");
});

test("a person sees the running step with its detail and time, and then what it came to", async () => {
  const clock = virtualClock();
  const terminal = testTerminal({ live: true });
  const steps = new StepList(terminal, clock);
  let finish: () => void = () => undefined;

  const running = steps.run("start the nodes", async (step) => {
    step.detail("waiting for cloud");
    await new Promise<void>((resolve) => {
      finish = resolve;
    });
    return { summary: "4 nodes", value: undefined };
  });
  await clock.advance(2000);
  expect(screen(terminal)).toEqual([expect.stringMatching(/^. start the nodes {2}waiting for cloud {2}2\.0 s$/)]);
  steps.note("port 8080 is taken");
  expect(screen(terminal)).toEqual(["  port 8080 is taken", expect.stringContaining("waiting for cloud")]);

  finish();
  await running;
  expect(screen(terminal)).toEqual(["  port 8080 is taken", "✔ start the nodes  4 nodes  2.0 s"]);
  await clock.runUntilIdle();
  expect(screen(terminal)).toEqual(["  port 8080 is taken", "✔ start the nodes  4 nodes  2.0 s"]);
});

test("steps side by side keep their lines; those that are over are left alone by the next", async () => {
  const clock = virtualClock();
  const terminal = testTerminal({ live: true });
  const steps = new StepList(terminal, clock);
  const step = (title: string, ms: number): Promise<number> =>
    steps.run(title, async () => {
      await clock.sleep(ms);
      return { summary: "done", value: ms };
    });

  const both = Promise.all([step("slow", 3000), step("quick", 1000)]);
  await clock.advance(1500);
  expect(screen(terminal)).toEqual([expect.stringMatching(/^. slow {2}1\.5 s$/), "✔ quick  done  1.0 s"]);
  await clock.advance(1500);
  await both;
  const last = step("last", 500);
  await clock.advance(500);
  await last;

  expect(screen(terminal)).toEqual(["✔ slow  done  3.0 s", "✔ quick  done  1.0 s", "✔ last  done  0.5 s"]);
});

test("a long detail is cut to the terminal's width, its lines joined", async () => {
  const terminal = testTerminal({ live: true });

  await new StepList(terminal, virtualClock()).run("apply", async () => ({
    summary: `first line\n${"x".repeat(100)}`,
    value: undefined,
  }));

  const [line = ""] = screen(terminal);
  expect(line.length).toBeLessThanOrEqual(terminal.columns);
  expect(line).toMatch(/^✔ apply {2}first line x+… {2}0\.0 s$/);
});

test("times are short", () => {
  expect([0, 449, 9_949, 12_400, 75_000].map(seconds)).toEqual(["0.0 s", "0.4 s", "9.9 s", "12 s", "75 s"]);
});

test("no line is longer than the terminal is wide, be its title longer", async () => {
  const terminal = testTerminal({ live: true });
  const title = "start tracking and the artifact store and everything else that there is";

  await new StepList(terminal, virtualClock()).run(title, async () => ({ summary: "https://x", value: undefined }));

  const [line = ""] = screen(terminal);
  expect(line.length).toBeLessThan(terminal.columns);
  expect(line).toMatch(/^✔ start tracking .*… {2}0\.0 s$/);
});
