import { readFile } from "node:fs/promises";
import type { ProcessMark } from "../../kernel/files/index.js";

/** Which process serves a directory. */
export interface GatewayMark extends ProcessMark {
  readonly startedAt: string;
}

/** The mark in a file, if it is one; `undefined` otherwise. */
export async function readMark(file: string): Promise<GatewayMark | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(file, "utf8"));
    if (typeof value !== "object" || value === null) return undefined;
    const fields = new Map<string, unknown>(Object.entries(value));
    const pid = fields.get("pid");
    const startedAt = fields.get("startedAt");
    const startTicks = fields.get("startTicks");
    if (typeof pid !== "number" || !Number.isInteger(pid) || pid <= 0) return undefined;
    return {
      pid,
      startedAt: typeof startedAt === "string" ? startedAt : "",
      startTicks: typeof startTicks === "string" ? startTicks : "",
    };
  } catch {
    return undefined;
  }
}
