import { EventEmitter, once } from "node:events";
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../kernel/clock/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { ConfiguredModels } from "./configured-models.js";
import { ModelError } from "./failures.js";
import { scale } from "./models.fixture.js";
import { call, serveProtocols } from "./protocols.fixture.js";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

test("models that a file lists are fetched, loaded, told of, replaced and unloaded as it changes", async () => {
  const folder = await mkdtemp(join(tmpdir(), "argosy-configured-"));
  closers.push(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, "models.json");
  // As a ConfigMap's volume changes: at once.
  const list = async (...models: [name: string, uri: string][]): Promise<void> => {
    const all = models.map(([modelName, storageUri]) => ({
      modelName,
      modelSpec: { storageUri },
      revision: `${storageUri}-1`,
    }));
    await writeFile(`${file}.next`, JSON.stringify(all));
    await rename(`${file}.next`, file);
  };
  const configured = new ConfiguredModels({
    file,
    folder: join(folder, "laid-out"),
    fetch: async (uri, destination) => {
      if (uri === "s3://gone") throw new ModelError("ModelDownloadFailed", "the store has no such object");
      await mkdir(destination, { recursive: true });
      await writeFile(join(destination, "model.onnx"), scale(Number(uri.slice(-1))));
      return destination;
    },
    // The naps between looks are no part of this.
    clock: { ...systemClock, sleep: (_ms, signal) => systemClock.sleep(1, signal) },
    log: silentLogger,
  });
  const server = await serveProtocols({ configured }, { "own/1/model.onnx": scale(9) });
  closers.push(() => server.stop());
  const told = (name: string) => call(`${server.url}/v2/repository/configured/${name}`);
  const until = async (name: string, wanted: string): Promise<string> => {
    for (;;) {
      const { status, json } = await told(name);
      const said = status === 200 ? `${json.state} ${json.revision} ${json.reason}` : String(status);
      if (said.startsWith(wanted)) return said;
    }
  };
  const ask = async (name: string) => {
    const inputs = [{ name: "x", datatype: "FP32", shape: [1, 2], data: [1, 2] }];
    const { status, json } = await call(`${server.url}/v2/models/${name}/infer`, { inputs });
    return status === 200 ? json.outputs[0].data : status;
  };

  await list(["a", "s3://b/2"], ["b", "s3://gone"]);
  await until("a", "READY s3://b/2-1");
  expect(await ask("a")).toEqual([2, 4]);
  expect(await until("b", "UNAVAILABLE")).toBe(
    "UNAVAILABLE s3://gone-1 ModelDownloadFailed: the store has no such object",
  );
  expect(await ask("b")).toBe(503);
  await list(["a", "s3://b/3"]);
  await until("a", "READY s3://b/3-1");
  expect(await ask("a")).toEqual([3, 6]);
  await until("b", "404");
  for (; (await ask("b")) !== 404; );
  await writeFile(file, "no list");
  expect(await ask("a")).toEqual([3, 6]);
  await list();
  for (; (await ask("a")) !== 404; );
  expect(await ask("own")).toEqual([9, 18]);
});

test("of many models only some are fetched at once; a list that cannot be read takes none away", async () => {
  const folder = await mkdtemp(join(tmpdir(), "argosy-configured-"));
  closers.push(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, "models.json");
  const names = Array.from({ length: 30 }, (_, index) => `m${index}`);
  await writeFile(file, JSON.stringify(names.map((modelName) => ({ modelName, modelSpec: { storageUri: "s3://b" } }))));
  const loaded = new Set<string>();
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  let [now, most, looks] = [0, 0, 0];
  const configured = new ConfiguredModels({
    ...{ file, folder: join(folder, "laid-out"), log: silentLogger },
    fetch: async (_uri, destination) => {
      now++;
      most = Math.max(most, now);
      await turn();
      now--;
      return destination;
    },
    clock: { ...systemClock, sleep: () => turn().then(() => void looks++) },
  });
  const repository = {
    announce: () => undefined,
    remove: async (name: string) => void loaded.delete(name),
    load: async (name: string) => void loaded.add(name),
  };
  configured.start(repository as unknown as Parameters<ConfiguredModels["start"]>[0]);
  closers.push(() => configured.close());
  while (loaded.size < names.length) await turn();
  // A folder is none that can be read; it takes the place at once, as links are changed.
  await mkdir(join(folder, "unreadable"));
  await symlink("unreadable", `${file}.next`);
  await rename(`${file}.next`, file);
  for (const before = looks; looks < before + 10; ) await turn();

  expect(most).toBe(8);
  expect(loaded.size).toBe(names.length);
});

test("downloads are given up when the list names others, and when the server ends", async () => {
  const folder = await mkdtemp(join(tmpdir(), "argosy-configured-"));
  closers.push(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, "models.json");
  const list = (uri: string) =>
    writeFile(file, JSON.stringify([{ modelName: "a", modelSpec: { storageUri: uri }, revision: uri }]));
  const events = new EventEmitter();
  const configured = new ConfiguredModels({
    file,
    folder: join(folder, "laid-out"),
    // A store that never answers.
    fetch: (uri, _destination, signal) => {
      events.emit(`begun ${uri}`);
      return new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => {
          events.emit(`given up ${uri}`);
          reject(signal.reason);
        });
      });
    },
    clock: { ...systemClock, sleep: (_ms, signal) => systemClock.sleep(1, signal) },
    log: silentLogger,
  });
  const begun = once(events, "begun s3://one");
  await list("s3://one");
  const server = await serveProtocols({ configured }, { "own/1/model.onnx": scale(9) });
  await begun;

  const givenUp = once(events, "given up s3://one");
  const next = once(events, "begun s3://two");
  await list("s3://two");
  await givenUp;
  await next;
  const last = once(events, "given up s3://two");
  await server.stop();
  await last;
});
