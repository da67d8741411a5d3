import { expect, test } from "vitest";
import { virtualClock } from "../clock/index.js";
import { InputError } from "../errors/index.js";
import { createLogger, silentLogger } from "./index.js";

function capture(level?: "info" | "debug") {
  const lines: Record<string, unknown>[] = [];
  const write = (line: string): void => {
    lines.push(JSON.parse(line) as Record<string, unknown>);
  };
  return { lines, log: createLogger({ clock: virtualClock(0), write, ...(level === undefined ? {} : { level }) }) };
}

test("writes one JSON line with time, level, message and fields", () => {
  const { lines, log } = capture();

  log.with({ controller: "job" }).info("pod created", { kind: "Pod", name: "a", msg: "not mine" });
  log.debug("below the level");

  expect(lines).toEqual([
    { time: "1970-01-01T00:00:00.000Z", level: "info", msg: "pod created", controller: "job", kind: "Pod", name: "a" },
  ]);
});

test("spells out errors with code and cause", () => {
  const { lines, log } = capture();

  log.error("failed", { err: new InputError("bad line", { cause: new TypeError("inner") }) });

  expect(lines[0]?.["err"]).toMatchObject({ code: "InvalidInput", message: "bad line", cause: { name: "TypeError" } });
});

test("masks secrets at any depth, cuts cycles and bytes", () => {
  const { lines, log } = capture("debug");
  const cyclic: Record<string, unknown> = { bearerToken: "s3cr3t", headers: { Authorization: "Bearer s3cr3t" } };
  cyclic["self"] = cyclic;

  log.debug("request", { cyclic, bytes: new Uint8Array(3), password: "s3cr3t" });

  expect(JSON.stringify(lines)).not.toContain("s3cr3t");
  expect(lines[0]).toMatchObject({ bytes: "<3 bytes>", password: "<masked>" });
});

test("the silent logger stays silent", () => {
  expect(() => silentLogger.with({}).error("nothing")).not.toThrow();
});
