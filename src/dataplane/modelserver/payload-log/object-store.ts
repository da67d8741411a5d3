/** Writing objects into an S3 store. */
import { signedHeaders } from "../../../kernel/aws/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import { ClientPool, requestHead } from "../../../kernel/http-client/index.js";
import { bucketUrl, readS3Settings, type S3Settings } from "../storage/index.js";
import { DeliveryError } from "./queue.js";
import { logVariables } from "./settings.js";
import type { SinkOptions } from "./sinks.js";

/** A bucket that takes objects. */
export interface ObjectStore {
  /** Rejects with a `DeliveryError`. */
  put(key: string, content: { readonly data: Buffer; readonly type: string }): Promise<void>;
  close(): Promise<void>;
}

interface Opened {
  readonly settings: S3Settings;
  readonly pool: ClientPool;
}

/** A bucket of the store that the settings' `s3cfg` names, or AWS' variables do; it is looked for when something is to be written. */
export function createObjectStore(options: SinkOptions, bucket: string): ObjectStore {
  let opened: Promise<Opened> | undefined;
  return {
    async put(key, content) {
      opened ??= open(options, bucket);
      const store = await opened.catch((error: unknown) => {
        // The Secret may come later.
        opened = undefined;
        throw new DeliveryError(messageOf(error), true, { cause: error });
      });
      const path = key.split("/").map(encodeURIComponent).join("/");
      await send({ ...store, clock: options.clock }, bucketUrl(store.settings, bucket, path), content);
    },
    async close() {
      (await opened?.catch(() => undefined))?.pool.destroy(new DeliveryError("the log is being closed", true));
    },
  };
}

async function open({ settings: { s3cfg }, env }: SinkOptions, bucket: string): Promise<Opened> {
  const settings = await readS3Settings(s3cfg, logVariables(env));
  const ca = settings.ca === undefined ? {} : { ca: settings.ca };
  const tls = { rejectUnauthorized: settings.checkCertificate, ...ca };
  return { settings, pool: new ClientPool({ url: new URL(bucketUrl(settings, bucket)), tls, ...TIMES }) };
}

const TIMES = { connectMs: 5_000, idleMs: 4_000, silenceMs: 20_000 };
/** Of what a store says to a refusal. */
const MAX_SAID_BYTES = 16_384;

async function send(
  { settings, pool, clock }: Opened & { readonly clock: SinkOptions["clock"] },
  url: string,
  { data, type }: { data: Buffer; type: string },
): Promise<void> {
  const { keys, region } = settings;
  const to = new URL(url);
  const given = { "content-type": type };
  const asked = { method: "PUT", to, headers: given, payloadHash: "UNSIGNED-PAYLOAD" };
  const headers = keys === undefined ? given : signedHeaders(asked, { keys, region, nowMs: clock.now() });
  try {
    const request = { head: requestHead("PUT", to, headers), body: data };
    const { head, body } = await pool.send(request, { limit: MAX_SAID_BYTES, isRepeatable: true });
    const { status } = head;
    const said = /<Code>([^<]{1,100})<\/Code>/.exec(String(body))?.[1] ?? "";
    if (status < 200 || status >= 300)
      throw new DeliveryError(
        `the store answered ${status} ${said}`.trim(),
        status >= 500 || status === 429 || status === 403 || status === 404,
      );
  } catch (error) {
    if (error instanceof DeliveryError) throw error;
    throw new DeliveryError(messageOf(error), true, { cause: error });
  }
}
