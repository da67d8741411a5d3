// `npm start`: installs and builds what is missing, then runs `argosy start` in this process.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { prepare, root } from "./prepare.mjs";

prepare();
const { runMain } = await import(pathToFileURL(join(root, "dist", "src", "cli", "main.js")).href);
await runMain(["start", ...process.argv.slice(2)]);
