/** Where events go: addresses that take CloudEvents, and stores that take files. */
import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gunzip, inflate } from "node:zlib";
import type { Clock } from "../../../kernel/clock/types.js";
import { messageOf } from "../../../kernel/errors/index.js";
import { readTrust } from "../storage/index.js";
import { bytesOf, eventHeads, keyOf, type PayloadEvent, recordOf, writeRecords } from "./event.js";
import { createObjectStore } from "./object-store.js";
import { PostClient } from "./post-client.js";
import { DeliveryError, type Sink } from "./queue.js";
import { logVariables, type PayloadLogSettings, shownUrl } from "./settings.js";

/** What sinks need from around them. */
export interface SinkOptions {
  readonly settings: PayloadLogSettings;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The sink at an address. */
export function createSink(url: string, options: SinkOptions): Sink {
  if (/^https?:/.test(url)) return new EventSink(url, options);
  return new FileSink(url, options);
}

/** What is read of a marshaller's answer, and made of a coded body. */
const MAX_DECODED_BYTES = 64 * 2 ** 20;

/** Posts each event as a CloudEvent in binary mode. */
class EventSink implements Sink {
  readonly name: string;
  readonly concurrency = 8;
  readonly batchSize = 1;
  readonly batchIntervalMs = 0;
  readonly #client: PostClient;
  readonly #headOf: (event: PayloadEvent) => string;

  constructor(url: string, { settings, env }: SinkOptions) {
    this.name = shownUrl(url);
    this.#client = new PostClient(url, () => readTrust(logVariables(env)));
    this.#headOf = eventHeads(settings);
  }

  async deliver(events: readonly PayloadEvent[]): Promise<void> {
    for (const event of events)
      await this.#client.post({ head: this.#headOf(event), body: event.body, isLatin1: event.isLatin1, limit: 0 });
  }

  close(): Promise<void> {
    this.#client.close();
    return Promise.resolve();
  }
}

/** Writes files of records into a store, in the format that was asked for or by a marshaller. */
class FileSink implements Sink {
  readonly name: string;
  readonly concurrency = 2;
  readonly batchSize: number;
  readonly batchIntervalMs: number;
  readonly #url: string;
  readonly #settings: PayloadLogSettings;
  readonly #put: (key: string, data: Buffer, type: string) => Promise<void>;
  readonly #prefix: string;
  readonly #close: () => Promise<void>;
  readonly #marshaller: PostClient | undefined;

  constructor(url: string, options: SinkOptions) {
    const { settings, env } = options;
    this.name = shownUrl(url);
    this.#url = url;
    this.#settings = settings;
    this.batchSize = settings.batchSize;
    this.batchIntervalMs = settings.batchIntervalMs;
    const { protocol, host, pathname } = new URL(url);
    if (protocol === "file:") {
      const folder = fileURLToPath(url);
      this.#prefix = "";
      this.#put = (key, data) => writeWhole(join(folder, key), data);
      this.#close = () => Promise.resolve();
    } else {
      const store = createObjectStore(options, host);
      this.#prefix = decodeURIComponent(pathname);
      this.#put = (key, data, type) => store.put(key, { data, type });
      this.#close = () => store.close();
    }
    const { marshallerUrl } = settings;
    this.#marshaller =
      marshallerUrl === undefined ? undefined : new PostClient(marshallerUrl, () => readTrust(logVariables(env)));
  }

  async deliver(events: readonly PayloadEvent[]): Promise<void> {
    const decoded = await decodeEvents(events);
    const newest = decoded.at(-1);
    if (newest === undefined) return;
    const { data, type, extension } = await this.#write(decoded);
    await this.#put(keyOf(this.#settings, this.#prefix, newest, extension), data, type);
  }

  async #write(events: readonly PayloadEvent[]): Promise<{ data: Buffer; type: string; extension: string }> {
    if (this.#marshaller === undefined)
      return { ...writeRecords(this.#settings, events, this.#url), extension: this.#settings.format };
    const body = JSON.stringify(events.map((event) => recordOf(this.#settings, event, this.#url)));
    const head = "content-type: application/json\r\n";
    const { data, header } = await this.#marshaller.post({ head, body, limit: MAX_DECODED_BYTES });
    const extension = header("x-log-marshal-extension") || "json";
    if (!/^[A-Za-z0-9.]{1,20}$/.test(extension) || extension.startsWith("."))
      throw new DeliveryError("the marshaller's x-log-marshal-extension is no file extension", false);
    return { data, extension, type: header("content-type") || "application/octet-stream" };
  }

  async close(): Promise<void> {
    this.#marshaller?.close();
    await this.#close();
  }
}

/** Records have no content coding: what came in one is taken out of it, where that goes, and as long as all of a file stays within a bound. */
async function decodeEvents(events: readonly PayloadEvent[]): Promise<PayloadEvent[]> {
  const decoded: PayloadEvent[] = [];
  let left = MAX_DECODED_BYTES;
  // One after the other: a few bytes of each may become very many.
  for (const event of events) {
    const plain = await decodeEvent(event, left);
    if (plain !== event) left -= plain.body.length;
    decoded.push(plain);
  }
  return decoded;
}

async function decodeEvent(event: PayloadEvent, maxOutputLength: number): Promise<PayloadEvent> {
  const { coding, body } = event;
  if (coding === undefined || maxOutputLength <= 0 || !(event.isLatin1 || typeof body !== "string")) return event;
  const decode = coding === "deflate" ? promisify(inflate) : promisify(gunzip);
  try {
    return { ...event, coding: undefined, body: await decode(bytesOf(event), { maxOutputLength }) };
  } catch {
    return event;
  }
}

/** Readers see a file whole or not at all. */
async function writeWhole(file: string, data: Buffer): Promise<void> {
  try {
    await mkdir(dirname(file), { recursive: true });
    await writeFile(`${file}.part`, data, { mode: 0o600 });
    await rename(`${file}.part`, file);
  } catch (error) {
    throw new DeliveryError(messageOf(error), true, { cause: error });
  }
}
