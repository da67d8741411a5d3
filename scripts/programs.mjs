// Programs that pods wait for, in few files: Node takes half a millisecond for each module that it loads, and a model server has a hundred.
import { readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

/** Files that are wanted together are one, with all that they need; the rest is loaded when it is asked for. */
const TOGETHER = {
  // Before the first answer of a model that most have …
  serve: [
    ...["program.js", "server.js", "engines/onnx/graph.js", "engines/onnx/session.unsafe.js"],
    "engines/placed-engine.js",
  ],
  // … and where it is fetched. Apart, because cryptography is a tenth of the start.
  fetch: ["storage/index.js", "storage/sources/s3.js"],
};

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = join(root, "dist", "src", "dataplane", "modelserver");
const to = join(root, "dist", "programs");
const bundle = await rolldown({
  input: { "model-server": join(folder, "main.js") },
  platform: "node",
  external: /^[^./]/,
  logLevel: "silent",
});
await bundle.write({
  dir: to,
  format: "esm",
  chunkFileNames: "model-server/[name]-[hash].js",
  codeSplitting: {
    groups: Object.entries(TOGETHER).map(([name, files], index) => ({
      ...{ name, priority: 2 - index },
      test: (id) => files.some((file) => id === join(folder, file)),
    })),
  },
});
await bundle.close();

// A server that runs since before this build still loads its own files, by their names.
const KEPT_MS = 7 * 86_400_000;
for (const name of readdirSync(join(to, "model-server"))) {
  const file = join(to, "model-server", name);
  if (Date.now() - statSync(file).mtimeMs > KEPT_MS) rmSync(file);
}
