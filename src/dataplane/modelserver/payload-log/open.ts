import type { Clock, Random } from "../../../kernel/clock/types.js";
import type { Logger } from "../../../kernel/log/types.js";
import { createPayloadLog, type PayloadLog } from "./log.js";
import type { PayloadLogSettings } from "./settings.js";
import { createSink } from "./sinks.js";

/** What a payload log needs from around it. */
export interface PayloadLogTools {
  readonly clock: Clock;
  readonly random: Pick<Random, "uuid" | "next">;
  readonly log: Logger;
  /** Where AWS' variables are looked for. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Opens a payload log; nothing is sent before there is something to send. */
export function openPayloadLog(settings: PayloadLogSettings, tools: PayloadLogTools): PayloadLog {
  const { clock, random, log, env } = tools;
  const urls = [...new Set(settings.urls)];
  const sinks = urls.map((url) => createSink(url, { settings, clock, env }));
  return createPayloadLog({ settings, sinks, clock, random, log });
}
