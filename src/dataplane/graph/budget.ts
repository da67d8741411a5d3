/** Bounds what the bodies of all requests and answers hold at once. */
import { HttpError } from "../../kernel/http1/index.js";

/** What one request holds. */
export interface BodyHold {
  /** Throws a 503 `HttpError` when all together would be too much. */
  take(bytes: number): void;
  release(): void;
}

/** A budget of so many bytes. */
export function createBudget(limit: number): () => BodyHold {
  let used = 0;
  return () => {
    let own = 0;
    return {
      take(bytes) {
        if (used + bytes > limit)
          throw new HttpError(503, `bodies of ${used} bytes are on their way already`, { "retry-after": "1" });
        own += bytes;
        used += bytes;
      },
      release() {
        used -= own;
        own = 0;
      },
    };
  };
}
