/** Programs as pods start them: of few files, of which some are read late. */
import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, expect, test } from "vitest";
import { packageRoot } from "../src/kernel/assets/index.js";
import { temporaryFolder } from "../src/testing/folder.js";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const DOUBLER = `export const inputs = [{ name: "x", datatype: "FP32", shape: [-1] }];
export const outputs = [{ name: "y", datatype: "FP32", shape: [-1] }];
export const predict = ({ x }) => ({ y: Array.from(x.data, (value) => 2 * value) });
`;

async function serve(args: readonly string[], cwd?: string): Promise<string> {
  const child = spawn(
    process.execPath,
    [join(packageRoot(), "dist", "programs", "model-server.js"), "--http=0", ...args],
    { stdio: ["ignore", "pipe", "inherit"], cwd },
  );
  const ended = new Promise((resolve) => child.once("exit", resolve));
  closers.push(() => {
    child.kill();
    return ended;
  });
  for await (const line of createInterface(child.stdout)) {
    const url = /^listening on (.*)$/.exec(line)?.[1];
    if (url !== undefined) return url;
  }
  throw new Error("it ended before it listened");
}

/** A model of its placement's name. */
async function writeModel(repository: string, placement: string): Promise<void> {
  await mkdir(join(repository, placement, "1"), { recursive: true });
  await writeFile(join(repository, placement, "1", "model.mjs"), DOUBLER);
  await writeFile(join(repository, placement, "config.json"), JSON.stringify({ parameters: { placement } }));
}

test("a repository may be named from the current folder, also where a model runs in a process of its own", async () => {
  const folder = temporaryFolder("programs-relative");
  await writeModel(join(folder, "models"), "process");
  const url = await serve(["--repository", "models"], folder);
  const index = async (): Promise<unknown> => (await fetch(`${url}/v2/repository/index`, { method: "POST" })).json();
  while (/^\[\]$|LOADING/.test(JSON.stringify(await index())));

  expect(await index()).toEqual([{ name: "process", version: "1", state: "READY", reason: "" }]);
});

test("a model server answers, with a model in a thread and one in a process, and by what it loads when it is asked", async () => {
  const folder = temporaryFolder("programs");
  for (const placement of ["thread", "process"]) await writeModel(folder, placement);
  const url = await serve(["--repository", folder]);
  while (!(await fetch(`${url}/v2/health/ready`)).ok);
  for (const name of ["thread", "process"]) {
    const body = JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [2], data: [1, 2] }] });
    const answer = await fetch(`${url}/v2/models/${name}/infer`, { method: "POST", body });
    expect(await answer.json()).toMatchObject({ outputs: [{ name: "y", data: [2, 4] }] });
  }
  // Their code is in files of its own.
  expect((await fetch(`${url}/openai/v1/models`)).status).toBe(200);
  expect((await fetch(`${url}/v1/models/thread/metadata`)).status).toBe(200);
});
