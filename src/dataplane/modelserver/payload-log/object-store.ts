/** Writing objects into an S3 store. */
import { Agent, request } from "undici";
import { signedHeaders } from "../../../kernel/aws/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import { readS3Settings, type S3Settings } from "../storage/index.js";
import { DeliveryError } from "./queue.js";
import type { SinkOptions } from "./sinks.js";

/** A store that takes objects. */
export interface ObjectStore {
  /** Rejects with a `DeliveryError`. */
  put(bucket: string, key: string, content: { readonly data: Buffer; readonly type: string }): Promise<void>;
  close(): Promise<void>;
}

/** The store that the settings' `s3cfg` names, or AWS' variables do; it is looked for when something is to be written. */
export function createObjectStore(options: SinkOptions): ObjectStore {
  let opened: Promise<{ settings: S3Settings; dispatcher: Agent }> | undefined;
  return {
    async put(bucket, key, content) {
      opened ??= open(options);
      const store = await opened.catch((error: unknown) => {
        // The Secret may come later.
        opened = undefined;
        throw new DeliveryError(messageOf(error), true, { cause: error });
      });
      const path = [bucket, ...key.split("/")].map(encodeURIComponent).join("/");
      await send({ ...store, clock: options.clock }, path, content);
    },
    async close() {
      await (await opened?.catch(() => undefined))?.dispatcher.destroy();
    },
  };
}

const PREFIX = "PAYLOAD_LOG_";

/** The variables that are for the log, where there are any; otherwise everybody's. */
function variablesFor(env: SinkOptions["env"]): SinkOptions["env"] {
  const own = Object.entries(env).filter(([name]) => name.startsWith(PREFIX));
  return own.length === 0 ? env : Object.fromEntries(own.map(([name, value]) => [name.slice(PREFIX.length), value]));
}

async function open({ settings: { s3cfg }, env }: SinkOptions): Promise<{ settings: S3Settings; dispatcher: Agent }> {
  const settings = await readS3Settings(s3cfg, variablesFor(env));
  const ca = settings.ca === undefined ? {} : { ca: settings.ca };
  const connect = { rejectUnauthorized: settings.checkCertificate, timeout: 5_000, ...ca };
  return { settings, dispatcher: new Agent({ connect, headersTimeout: 20_000, bodyTimeout: 20_000, connections: 4 }) };
}

async function send(
  { settings, dispatcher, clock }: { settings: S3Settings; dispatcher: Agent; clock: SinkOptions["clock"] },
  path: string,
  { data, type }: { data: Buffer; type: string },
): Promise<void> {
  const { endpoint, keys, region } = settings;
  const url = `${endpoint}/${path}`;
  const given = { "content-type": type };
  const asked = { method: "PUT", to: new URL(url), headers: given, payloadHash: "UNSIGNED-PAYLOAD" };
  const headers = keys === undefined ? given : signedHeaders(asked, { keys, region, nowMs: clock.now() });
  try {
    const { statusCode, body } = await request(url, { method: "PUT", headers, body: data, dispatcher });
    const said = /<Code>([^<]{1,100})<\/Code>/.exec((await body.text()).slice(0, 2000))?.[1] ?? "";
    if (statusCode >= 300)
      throw new DeliveryError(
        `the store answered ${statusCode} ${said}`.trim(),
        statusCode >= 500 || statusCode === 429 || statusCode === 403 || statusCode === 404,
      );
  } catch (error) {
    if (error instanceof DeliveryError) throw error;
    throw new DeliveryError(messageOf(error), true, { cause: error });
  }
}
