#!/bin/sh
// 2>/dev/null; exec node --max-semi-space-size=32 "$0" "$@"
// For a shell the line above starts Node with more room for young objects (src/cli/platform/node-flags.ts); for Node it is a comment.
import { existsSync } from "node:fs";

const main = new URL("../dist/src/cli/main.js", import.meta.url);
if (!existsSync(main)) {
  process.stderr.write(
    "argosy is not built yet: run `npm ci && npm run build` in its folder (or `npm start`, which does both)\n",
  );
  process.exit(1);
}
const { runMain } = await import(main.href);
await runMain(process.argv.slice(2));
