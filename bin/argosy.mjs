#!/usr/bin/env node
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
