import { Readable } from "node:stream";
import { NodeError } from "../../errors.js";
import type { Attempt } from "../attempt.js";
import { begin } from "../begin.js";
import type { ExecSession } from "../types.js";
import type { PodmanEngine } from "./engine.js";

interface AttachRequest {
  readonly attempt: Attempt;
  readonly stdin: boolean;
  readonly engine: PodmanEngine;
  readonly output: (signal: AbortSignal) => AsyncIterable<Uint8Array>;
  readonly exited: () => Promise<number>;
}

/** Output of a container from now on, and its input where it has one. */
export async function attachTo({ attempt, stdin, engine, output, exited }: AttachRequest): Promise<ExecSession> {
  const { saved } = attempt;
  if (stdin && saved.stdin !== true)
    throw new NodeError("NoInput", `container "${saved.name}" has no stdin (spec.containers[].stdin is not set)`);
  const path = `/containers/${saved.engineId ?? ""}`;
  const stop = new AbortController();
  const seen = begin(output(stop.signal));
  // For a terminal podman ends the stream at once when no output is asked for; what comes is in the log too.
  const streams = `stdin=true&stdout=${saved.tty === true}&stderr=false`;
  const input = stdin ? await engine.stream(`${path}/attach?stream=true&${streams}`) : undefined;
  input?.on("error", () => undefined);
  input?.resume();
  return {
    stdin: input,
    stdout: Readable.from(seen),
    stderr: undefined,
    exited: exited(),
    resize: ({ columns, rows }) => {
      if (saved.tty !== true) return;
      // A terminal that keeps its size is no reason to end anything.
      engine.ask("POST", `${path}/resize?h=${rows}&w=${columns}`).catch(() => undefined);
    },
    kill: () => {
      stop.abort();
      input?.destroy();
    },
  };
}
