import type { IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Clock } from "../../../../kernel/clock/index.js";
import { ArgosyError } from "../../../../kernel/errors/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { isObject, parseJson } from "../../../../kernel/schema/index.js";

const maxAnswerBytes = 1024 * 1024;
const timeoutMs = 10_000;

/** An issuer that does not answer as it should. */
export class IssuerError extends ArgosyError {
  constructor(message: string, options?: ErrorOptions) {
    super("IssuerFailed", message, options);
  }
}

/** Reads a JSON document over HTTPS: bounded in size and time, redirects are not followed. Throws `IssuerError`. */
export function fetchJson(url: string, caPem: string | undefined, clock: Clock): Promise<JsonObject> {
  return new Promise((resolve, reject) => {
    const outgoing = httpsRequest(url, {
      headers: { accept: "application/json" },
      minVersion: "TLSv1.2",
      agent: false,
      ...(caPem === undefined ? {} : { ca: caPem }),
    });
    const timer = clock.setTimer(timeoutMs, () =>
      outgoing.destroy(new IssuerError(`no answer in ${timeoutMs / 1000} s`)),
    );
    const fail = (error: unknown): void => {
      timer.cancel();
      outgoing.destroy();
      reject(error instanceof Error ? error : new IssuerError(String(error)));
    };
    outgoing.on("error", fail);
    outgoing.on("response", (response) => {
      readObject(response).then((value) => {
        timer.cancel();
        resolve(value);
      }, fail);
    });
    outgoing.end();
  });
}

async function readObject(response: IncomingMessage): Promise<JsonObject> {
  if (response.statusCode !== 200) throw new IssuerError(`answered ${response.statusCode ?? 0}`);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response) {
    if (!(chunk instanceof Uint8Array)) continue;
    size += chunk.byteLength;
    if (size > maxAnswerBytes) throw new IssuerError("the answer is too long");
    chunks.push(chunk);
  }
  const value = parseJson(Buffer.concat(chunks).toString("utf8"));
  if (!isObject(value)) throw new IssuerError("the answer is no JSON object");
  return value;
}
