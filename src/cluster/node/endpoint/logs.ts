import { once } from "node:events";
import type { ServerResponse } from "node:http";
import type { Clock } from "../../../kernel/clock/index.js";
import type { LogOptions, PodRuntime } from "../runtime/types.js";
import type { FoundContainer } from "./find.js";

/** Streams a container's log as `kubectl logs` asks for it. */
export async function serveLogs(
  found: FoundContainer,
  query: URLSearchParams,
  to: {
    readonly response: ServerResponse;
    readonly runtime: PodRuntime;
    readonly clock: Clock;
    readonly waiting: string;
  },
): Promise<void> {
  const { response, runtime, clock } = to;
  const isPrevious = query.get("previous") === "true";
  // A container that waits to be restarted has the log of its last run.
  const record = isPrevious ? found.records.at(-2) : found.records.at(-1);
  const where = `container "${found.container.name}" in pod "${found.pod.metadata.name}"`;
  if (record === undefined) {
    const message = isPrevious
      ? `previous terminated ${where} not found`
      : `${where} is waiting to start: ${to.waiting}`;
    response.writeHead(400, { "content-type": "text/plain" });
    response.end(message);
    return;
  }
  const stop = new AbortController();
  response.on("close", () => stop.abort());
  response.writeHead(200, { "content-type": "text/plain" });
  response.flushHeaders();
  for await (const chunk of runtime.logs(record, { ...logOptions(query, clock), signal: stop.signal })) {
    if (stop.signal.aborted) return;
    if (!response.write(chunk)) await once(response, "drain", { signal: stop.signal }).catch(() => undefined);
  }
  response.end();
}

function logOptions(query: URLSearchParams, clock: Clock): LogOptions {
  const number = (name: string): number | undefined => {
    const text = query.get(name);
    return text === null || !/^\d+$/.test(text) ? undefined : Number(text);
  };
  const sinceSeconds = number("sinceSeconds");
  const sinceTime = query.get("sinceTime");
  const sinceMs =
    sinceTime !== null
      ? Date.parse(sinceTime)
      : sinceSeconds === undefined
        ? undefined
        : clock.now() - sinceSeconds * 1000;
  const tailLines = number("tailLines");
  const limitBytes = number("limitBytes");
  return {
    follow: query.get("follow") === "true",
    timestamps: query.get("timestamps") === "true",
    ...(sinceMs === undefined || Number.isNaN(sinceMs) ? {} : { sinceMs }),
    ...(tailLines === undefined ? {} : { tailLines }),
    ...(limitBytes === undefined ? {} : { limitBytes }),
  };
}
