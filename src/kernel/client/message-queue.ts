/** Messages between a producer that pushes and one reader that pulls. */
export interface MessageQueue {
  push(message: Uint8Array): void;
  /** After what was pushed, the reader sees the end, or `error`. Only the first call counts. */
  end(error?: Error): void;
  /** For one reader. */
  readonly messages: AsyncIterable<Uint8Array>;
}

const highWaterBytes = 1024 * 1024;

/** Makes a queue that tells its producer to stop above 1 MiB and to go on when the reader caught up. */
export function createMessageQueue(flow: { onFull(): void; onDrained(): void }): MessageQueue {
  const waiting: Uint8Array[] = [];
  let bytes = 0;
  let isFull = false;
  let ended: { readonly error: Error | undefined } | undefined;
  let wake: (() => void) | undefined;
  const notify = (): void => {
    wake?.();
    wake = undefined;
  };

  async function* read(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const message = waiting.shift();
      if (message !== undefined) {
        bytes -= message.byteLength;
        if (isFull && bytes < highWaterBytes / 2) {
          isFull = false;
          flow.onDrained();
        }
        yield message;
        continue;
      }
      if (ended !== undefined) {
        if (ended.error !== undefined) throw ended.error;
        return;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }

  return {
    push(message) {
      if (ended !== undefined) return;
      waiting.push(message);
      bytes += message.byteLength;
      if (!isFull && bytes > highWaterBytes) {
        isFull = true;
        flow.onFull();
      }
      notify();
    },
    end(error) {
      ended ??= { error };
      notify();
    },
    messages: read(),
  };
}
