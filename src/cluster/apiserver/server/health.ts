import type { ApiRequest, ApiResponse } from "../types.js";
import { textResponse } from "./respond.js";

/** The checks of a path by the names under which probes and people know them. */
const checks: Readonly<Record<string, readonly string[]>> = {
  healthz: ["ping", "log", "etcd"],
  livez: ["ping", "log", "etcd"],
  readyz: ["ping", "log", "etcd", "etcd-readiness", "informer-sync", "shutdown"],
};

/** Answers /healthz, /livez, /readyz and single checks below them; `undefined` for other paths. While the server is not ready only /livez succeeds. */
export function answerHealth({ path, query }: ApiRequest, isReady: boolean): ApiResponse | undefined {
  const [, name = "", check, ...more] = path.split("/");
  const names = Object.hasOwn(checks, name) ? checks[name] : undefined;
  if (names === undefined || more.length > 0 || (check !== undefined && !names.includes(check))) return undefined;
  const isFine = name === "livez" || isReady;
  if (!isFine) return textResponse(500, `[-]${name} failed: the server is starting or shutting down\n`);
  if (check !== undefined || !query.has("verbose")) return textResponse(200, "ok");
  const excluded = new Set(query.getAll("exclude"));
  const lines = names.map((one) => `[+]${one} ${excluded.has(one) ? "excluded: ok" : "ok"}`);
  const unknown = [...excluded].filter((one) => !names.includes(one)).sort();
  if (unknown.length > 0) {
    const list = unknown.map((one) => JSON.stringify(one)).join(",");
    lines.push(`warn: some health checks cannot be excluded: no matches for ${list}`);
  }
  return textResponse(200, `${lines.join("\n")}\n${name} check passed\n`);
}
