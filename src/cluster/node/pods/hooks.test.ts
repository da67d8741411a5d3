import { createServer } from "node:http";
import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { systemClock } from "../../../kernel/clock/index.js";
import type { LifecycleHandler } from "../../../kernel/kinds/index.js";
import { connectDirectly } from "../../../kernel/netns/index.js";
import type { ExecSession, PodRuntime } from "../runtime/types.js";
import { type InContainer, runHook } from "./hooks.js";

function session(exited: Promise<number>): ExecSession {
  const stdout = new PassThrough();
  stdout.end("said");
  return { stdin: undefined, stdout, stderr: undefined, exited, resize: () => undefined, kill: () => undefined };
}

/** A runtime whose commands end with their first word as exit code, or never. */
const runtime = {
  exec: (_: unknown, { command }: { command: readonly string[] }) =>
    Promise.resolve(
      session(command[0] === "never" ? new Promise(() => undefined) : Promise.resolve(Number(command[0]))),
    ),
  connect: connectDirectly,
} as unknown as PodRuntime;

const place: InContainer = {
  runtime,
  clock: systemClock,
  container: { name: "main", image: "x" },
  ref: { podUid: "u", name: "main", attempt: 0 },
  podIp: "127.0.0.1",
};
const run = (handler: LifecycleHandler, timeoutMs = 1_000) => runHook(handler, place, timeoutMs);

test("commands count by exit code and time", async () => {
  expect(await run({ exec: { command: ["0"] } })).toMatchObject({ ok: true });
  expect(await run({ exec: { command: ["3"] } })).toMatchObject({ ok: false });
  expect((await run({ exec: { command: ["never"] } }, 20)).message).toContain("timed out");
});

test("an HTTP hook asks and does not judge; nobody there is a failure", async () => {
  let agent: string | undefined;
  const server = createServer((request, response) => {
    agent = request.headers["user-agent"];
    response.writeHead(500).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };

  expect(await run({ httpGet: { port } })).toEqual({ ok: true, message: "" });
  expect(agent).toBe("kube-lifecycle/1.34");
  await new Promise((resolve) => server.close(resolve));
  expect((await run({ httpGet: { port } })).message).toContain("connect: connection refused");
});

test("a connection is no hook, a sleep is one", async () => {
  expect((await run({ tcpSocket: { port: 80 } })).message).toContain("use exec, httpGet or sleep");
  expect(await run({ sleep: { seconds: 0 } })).toMatchObject({ ok: true });
});
