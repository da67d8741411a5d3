import pc from "picocolors";

/** Where a command writes: data to `out`, talk to `err`. Tests pass their own. */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  readStdin(): Promise<string>;
  /** Whether stderr is a terminal: live output and colour only there. */
  readonly live: boolean;
  readonly columns: number;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The process's own terminal. */
export function processTerminal(): Terminal {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      // `argosy get … | head`: the reader has what it wanted. As the shell's own programs end then (128 + SIGPIPE).
      process.exit(error.code === "EPIPE" ? 141 : 1);
    });
  }
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    readStdin: async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of process.stdin) {
        chunks.push(Buffer.from(chunk));
      }
      return Buffer.concat(chunks).toString("utf8");
    },
    live: process.stderr.isTTY === true && process.env["CI"] === undefined,
    get columns() {
      return process.stderr.columns ?? 100;
    },
    env: process.env,
  };
}

/** Colours for a terminal; plain text elsewhere and when NO_COLOR is set. */
export function colours(terminal: Terminal): ReturnType<typeof pc.createColors> {
  return pc.createColors(terminal.live && terminal.env["NO_COLOR"] === undefined);
}
