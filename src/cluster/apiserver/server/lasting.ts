/** Answers that may go on for long in somebody's name: streams of pods, and what is behind proxies. They end with the account or right that let them in, as watches do. */
import { deniedBy, requestAttributes, type Standing } from "../auth/index.js";
import type { ApiRequest, ApiResponse, AuthorizationAttributes, SubresourceContext, Upgraded } from "../types.js";

/** Where it is heard that somebody's right has gone. */
export type Rights = Pick<Standing, "track">;

/** Answers, and breaks the answer off when the right to it goes: cut, so that nobody takes it for whole. */
export async function lastingAnswer(
  rights: Rights,
  context: SubresourceContext,
  answer: (context: SubresourceContext) => Promise<ApiResponse>,
): Promise<ApiResponse> {
  const right = new HeldRight(rights, context);
  const response = await right.during(answer);
  if (response.body instanceof Uint8Array) {
    right.release();
    return response;
  }
  return {
    ...response,
    done: () => {
      right.release();
      response.done?.();
    },
  };
}

/** Hands a connection over, and closes it when the right to it goes. */
export async function lastingUpgrade(
  rights: Rights,
  context: SubresourceContext,
  upgrade: (context: SubresourceContext) => Promise<Upgraded>,
): Promise<Upgraded> {
  const right = new HeldRight(rights, context);
  const upgraded = await right.during(upgrade);
  const { socket } = upgraded;
  right.signal.addEventListener("abort", () => socket.destroy(), { once: true });
  if (right.signal.aborted) socket.destroy();
  if (socket.closed) right.release();
  else socket.once("close", () => right.release());
  return upgraded;
}

class HeldRight {
  readonly #controller = new AbortController();
  readonly #context: SubresourceContext;
  readonly #client: AbortSignal;
  readonly #attributes: AuthorizationAttributes;
  readonly #untrack: () => void;
  #isOver = false;

  constructor(rights: Rights, context: SubresourceContext) {
    const { user, info, request } = context;
    this.#context = context;
    this.#client = request.signal;
    this.#attributes = requestAttributes(user, info, request);
    this.#client.addEventListener("abort", this.#onGone, { once: true });
    if (this.#client.aborted) this.#onGone();
    this.#untrack = rights.track(this.#attributes, () => {
      this.#isOver = true;
      this.#controller.abort();
      this.release();
    });
  }

  /** Aborted when the client is gone, and when its right is. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Lets it begin. Throws 403 when the right went before there was an answer. */
  async during<T>(begin: (context: SubresourceContext) => Promise<T>): Promise<T> {
    const request: ApiRequest = { ...this.#context.request, signal: this.signal };
    try {
      return await begin({ ...this.#context, request });
    } catch (error) {
      this.release();
      throw this.#isOver ? deniedBy(this.#attributes, "what allowed it was taken away") : error;
    }
  }

  release(): void {
    this.#untrack();
    this.#client.removeEventListener("abort", this.#onGone);
  }

  readonly #onGone = (): void => this.#controller.abort(this.#client.reason);
}
