import type { Terminal } from "./terminal.js";

/** A terminal that keeps what is written to it, for tests. */
export interface TestTerminal extends Terminal {
  readonly stdout: () => string;
  readonly stderr: () => string;
}

/** A test's terminal: no live one unless asked for. */
export function testTerminal(options: { readonly live?: boolean; readonly stdin?: string } = {}): TestTerminal {
  const written = { out: "", err: "" };
  return {
    out: (text) => {
      written.out += text;
    },
    err: (text) => {
      written.err += text;
    },
    readStdin: async () => options.stdin ?? "",
    live: options.live ?? false,
    columns: 60,
    env: { NO_COLOR: "1" },
    stdout: () => written.out,
    stderr: () => written.err,
  };
}
