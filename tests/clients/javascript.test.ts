import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { allOk, clientsFolder, noPods, runChecks, sharedCluster, succeed, type Tool, testWith } from "./support.js";

const own = join(clientsFolder, "javascript");

const javascript: Tool = {
  name: "javascript",
  kind: "javascript",
  sources: ["javascript/package.json", "javascript/package-lock.json"],
  install: async (folder) => {
    for (const file of ["package.json", "package-lock.json"]) copyFileSync(join(own, file), join(folder, file));
    await succeed("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: folder, timeoutMs: 240_000 });
  },
};

const cluster = sharedCluster();
const checks = ["typed", "patches", "untyped", "watches", "informers", "customObjects"];
const checksOfPods = ["exec", "logs", "portForward"];

async function run(folder: string, names: readonly string[]): Promise<Record<string, string>> {
  const { env } = await cluster();
  return runChecks(process.execPath, [join(own, "program.mjs"), ...names], { env: { ...env, CLIENT_FOLDER: folder } });
}

testWith(javascript, "the JavaScript client", async (folder) => {
  expect(await run(folder, checks)).toEqual(allOk(...checks));
});

testWith(javascript, "the JavaScript client and pods", async (folder, context) => {
  if (noPods !== undefined) context.skip(`skipped, because ${noPods}`);

  expect(await run(folder, checksOfPods)).toEqual(allOk(...checksOfPods));
});
