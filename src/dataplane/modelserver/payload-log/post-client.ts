/** Posts to one address with few connections and little CPU time: it runs beside the requests that it tells of. */
import { messageOf } from "../../../kernel/errors/index.js";
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

/** An address to post to. */
export class PostClient {
  readonly #pool: ClientPool;
  readonly #fixed: string;

  constructor(address: string) {
    const url = new URL(address);
    const { pathname, search, host, username, password } = url;
    const user = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString("base64");
    const basic = username === "" ? "" : `authorization: Basic ${user}\r\n`;
    this.#fixed = `POST ${pathname}${search} HTTP/1.1\r\nhost: ${host}\r\n${basic}`;
    this.#pool = new ClientPool({ url, connectMs: ANSWER_MS, idleMs: IDLE_MS, silenceMs: ANSWER_MS });
  }

  /** Rejects with a `DeliveryError` unless the answer is a success. */
  async post({ head, body, limit, isLatin1 }: Post): Promise<Posted> {
    let answer: WholeAnswer;
    try {
      // That a connection was closed while it was idle says nothing about the address.
      const options = { limit, isRepeatable: true };
      answer = await this.#pool.send({ head: this.#fixed + head, body, isLatin1 }, options);
    } catch (error) {
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

  /** Breaks everything off. */
  close(): void {
    this.#pool.destroy(new DeliveryError("the log is being closed", true));
  }
}
