import { request } from "node:http";
import { ArgosyError } from "../../kernel/errors/index.js";
import type { ActivatorsReport } from "./activator-report.js";
import type { GatewayState } from "./state.js";

const MAX_STATE_BYTES = 256 * 1024 * 1024;

/** How a call waits. */
export interface AdminCallOptions {
  /** Default 2 s. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** One call on a gateway's admin socket; resolves with the body. Throws `ArgosyError` (`GatewayUnreachable`) on silence, refusal or a status of 400 and above. */
export function callAdmin(
  socketPath: string,
  method: string,
  path: string,
  options: AdminCallOptions = {},
): Promise<string> {
  const { timeoutMs = 2000, signal } = options;
  return new Promise((resolve, reject) => {
    const fail = (detail: string): void =>
      reject(new ArgosyError("GatewayUnreachable", `gateway admin ${socketPath}: ${detail}`));
    const call = request(
      { socketPath, method, path, agent: false, timeout: timeoutMs, ...(signal === undefined ? {} : { signal }) },
      (response) => {
        const pieces: Buffer[] = [];
        let size = 0;
        response.on("data", (piece: Buffer) => {
          size += piece.length;
          if (size > MAX_STATE_BYTES) call.destroy();
          else pieces.push(piece);
        });
        response.on("error", (error) => fail(error.message));
        response.on("end", () => {
          const text = Buffer.concat(pieces).toString("utf8");
          if ((response.statusCode ?? 500) >= 400)
            fail(`${method} ${path} answered ${response.statusCode}: ${text.slice(0, 500)}`);
          else resolve(text);
        });
      },
    );
    call.on("timeout", () => call.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    call.on("error", (error) => fail(error.message));
    call.end();
  });
}

/** Reads the gateway's state; with `since`, only what is new since that mark, for which it waits up to 3 s unless `now`. The assertion is safe as far as the version goes: the gateway and this client are one program. */
export async function readState(
  socketPath: string,
  options: { readonly since?: string; readonly now?: boolean; readonly signal?: AbortSignal } = {},
): Promise<GatewayState> {
  const { since, signal, now = false } = options;
  const path = since === undefined ? "/state" : `/state?since=${encodeURIComponent(since)}${now ? "&now=1" : ""}`;
  const text = await callAdmin(socketPath, "GET", path, {
    timeoutMs: since === undefined ? 2000 : 6000,
    ...(signal === undefined ? {} : { signal }),
  });
  const state = JSON.parse(text) as GatewayState;
  if (state.version !== 1)
    throw new ArgosyError(
      "GatewayUnreachable",
      `gateway admin ${socketPath}: speaks version ${String(state.version)}, not 1`,
    );
  return state;
}

/** What the gateway's activators count; with `since`, at once when a request has met one without a pod after that turn, else within a second. The assertion is safe as `readState`'s. */
export async function readActivators(
  socketPath: string,
  { since, signal }: { readonly since?: number | undefined; readonly signal?: AbortSignal } = {},
): Promise<ActivatorsReport> {
  const text = await callAdmin(socketPath, "GET", since === undefined ? "/activators" : `/activators?since=${since}`, {
    timeoutMs: 5000,
    ...(signal === undefined ? {} : { signal }),
  });
  return JSON.parse(text) as ActivatorsReport;
}
