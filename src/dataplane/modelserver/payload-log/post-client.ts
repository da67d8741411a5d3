/** Posts to one address with few connections and little CPU time: it runs beside the requests that it tells of. */
import type { ConnectionOptions } from "node:tls";
import { messageOf } from "../../../kernel/errors/index.js";
import { errnoOf } from "../../../kernel/files/index.js";
import { answerFields, ClientPool, type WholeAnswer } from "../../../kernel/http-client/index.js";
import { DeliveryError } from "./queue.js";

/** What was answered to a post. */
export interface Posted {
  /** Only as long as was asked for. */
  readonly data: Buffer;
  /** A field of the answer by its lower-case name. */
  readonly header: (name: string) => string | undefined;
}

/** What is posted; the head is lines with their ends, of ASCII. */
export interface Post {
  readonly head: string;
  readonly body: string | Uint8Array;
  /** Of a body that is a text; default UTF-8. */
  readonly isLatin1?: boolean;
  /** Most of the answer's body that is wanted, bytes. */
  readonly limit: number;
}

const ANSWER_MS = 10_000;
/** Shorter than servers usually are, so that a connection is seldom closed by them while something is sent. */
const IDLE_MS = 4_000;

const NOT_TRUSTED = /CERT|SELF_SIGNED|ALTNAME|UNABLE_TO/;

/** An address to post to; `trust` says whom it is trusted by, and is asked before the first connection, and after one that was not. */
export class PostClient {
  readonly #url: URL;
  readonly #trust: () => Promise<ConnectionOptions>;
  readonly #fixed: string;
  #pool: ClientPool | undefined;
  #isClosed = false;

  constructor(address: string, trust: () => Promise<ConnectionOptions>) {
    this.#url = new URL(address);
    this.#trust = trust;
    const { pathname, search, host, username, password } = this.#url;
    const user = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString("base64");
    const basic = username === "" ? "" : `authorization: Basic ${user}\r\n`;
    this.#fixed = `POST ${pathname}${search} HTTP/1.1\r\nhost: ${host}\r\n${basic}`;
  }

  /** Rejects with a `DeliveryError` unless the answer is a success. */
  async post({ head, body, limit, isLatin1 }: Post): Promise<Posted> {
    let answer: WholeAnswer;
    try {
      // That a connection was closed while it was idle says nothing about the address.
      const options = { limit, isRepeatable: true };
      const pool = this.#pool ?? (await this.#open());
      answer = await pool.send({ head: this.#fixed + head, body, isLatin1 }, options);
    } catch (error) {
      if (NOT_TRUSTED.test(errnoOf(error) ?? "")) this.#drop("its certificate is not trusted");
      throw new DeliveryError(messageOf(error), true, { cause: error });
    }
    const { status } = answer.head;
    if (status < 200 || status > 299) {
      const mayPass = status >= 500 || status === 408 || status === 425 || status === 429;
      throw new DeliveryError(`it answered ${status}`, mayPass);
    }
    if (answer.isCut && limit > 0) throw new DeliveryError(`its answer is longer than ${limit} bytes`, false);
    return { data: answer.body, header: (name) => answerFields(answer.head).get(name) };
  }

  async #open(): Promise<ClientPool> {
    const tls = this.#url.protocol === "https:" ? await this.#trust() : {};
    if (this.#isClosed) throw new DeliveryError(CLOSED, true);
    this.#pool ??= new ClientPool({
      ...{ url: this.#url, tls },
      ...{ connectMs: ANSWER_MS, idleMs: IDLE_MS, silenceMs: ANSWER_MS },
    });
    return this.#pool;
  }

  #drop(why: string): void {
    this.#pool?.destroy(new DeliveryError(why, true));
    this.#pool = undefined;
  }

  /** Breaks everything off. */
  close(): void {
    this.#isClosed = true;
    this.#drop(CLOSED);
  }
}

const CLOSED = "the log is being closed";
