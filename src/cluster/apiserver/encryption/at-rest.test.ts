import { randomBytes } from "node:crypto";
import { cpSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { systemClock, systemRandom } from "../../../kernel/clock/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { temporaryFolder } from "../../../testing/folder.js";
import { type ApiServer, createApiServer, readEncryptionConfig } from "../index.js";

const folder = temporaryFolder("at-rest");
const keys = { k1: randomBytes(32).toString("base64"), k2: randomBytes(32).toString("base64") };

async function start(
  dataDir: string,
  order: readonly (keyof typeof keys)[],
  identity: "first" | "last" = "last",
): Promise<ApiServer> {
  const file = join(folder, "encryption.yaml");
  const keyed = order.map((name) => `  - aesgcm: {keys: [{name: ${name}, secret: "${keys[name]}"}]}\n`);
  const plain = "  - identity: {}\n";
  const providers = (identity === "first" ? [plain, ...keyed] : [...keyed, plain]).join("");
  writeFileSync(
    file,
    `apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n${providers}`,
  );
  return createApiServer({
    clusterName: "at-rest",
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    serviceCidr: "198.19.0.0/24",
    authorization: "rbac",
    tokens: [],
    dataDir,
    ...(order.length === 0 ? {} : { encryption: await readEncryptionConfig(file) }),
  });
}

async function ask(server: ApiServer, method: string, path: string, body?: JsonObject) {
  const answer = await server.handle({
    method,
    path,
    query: new URLSearchParams(),
    headers: { "content-type": "application/json", authorization: `Bearer ${server.adminToken}` },
    body: body === undefined ? new Uint8Array() : Buffer.from(JSON.stringify(body)),
    signal: new AbortController().signal,
  });
  return { status: answer.status, text: Buffer.from(answer.body as Uint8Array).toString() };
}

const path = "/api/v1/namespaces/default/secrets";
const secret = (name: string, value: string) => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name },
  stringData: { password: value },
});

/** Whether any file below the directory holds the text, or its base64. */
function isOnDisk(directory: string, text: string): boolean {
  const words = [text, Buffer.from(text).toString("base64").replace(/=+$/, "")];
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .some((entry) => {
      const bytes = readFileSync(join(entry.parentPath, entry.name));
      return words.some((word) => bytes.includes(word));
    });
}

test("secrets are nowhere on the disk, other objects are; they come back after a restart, also under a newer key", async () => {
  const dataDir = temporaryFolder("at-rest");
  const [hidden, open] = ["correct-horse-battery", "configured-in-the-open"];
  let server = await start(dataDir, ["k1"]);
  await ask(server, "POST", path, secret("s", hidden));
  await ask(server, "PUT", `${path}/s`, secret("s", `${hidden}-2`));
  await ask(server, "POST", "/api/v1/namespaces/default/configmaps", {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "c" },
    data: { open },
  });
  expect([isOnDisk(dataDir, hidden), isOnDisk(dataDir, open)]).toEqual([false, true]);
  await server.close();
  expect(isOnDisk(dataDir, hidden)).toBe(false);

  server = await start(dataDir, ["k2", "k1"]);
  expect((await ask(server, "GET", `${path}/s`)).text).toContain(Buffer.from(`${hidden}-2`).toString("base64"));
  await ask(server, "POST", path, secret("t", "newer"));
  await server.close();

  await expect(start(dataDir, ["k1"])).rejects.toThrow(/secrets\/default\/s is encrypted \(aesgcm, key "k2"\)/);
  await expect(start(dataDir, [])).rejects.toThrow(/secrets\/default\/s is encrypted \(aesgcm, key "k2"\)/);
  server = await start(dataDir, ["k2", "k1"]);
  expect((await ask(server, "GET", `${path}/t`)).status).toBe(200);
  await server.close();
});

test("what was written before is written anew when encryption begins, when the key changes, and when it ends", async () => {
  const dataDir = temporaryFolder("at-rest");
  const hidden = "written-in-the-open";
  let server = await start(dataDir, []);
  await ask(server, "POST", path, secret("old", hidden));
  await ask(server, "PUT", `${path}/old`, secret("old", `${hidden}-2`));
  await ask(server, "DELETE", `${path}/old`);
  await ask(server, "POST", path, secret("s", hidden));
  const { revision } = server;
  await server.close();
  expect(isOnDisk(dataDir, hidden)).toBe(true);

  const read = async () => (await ask(server, "GET", `${path}/s`)).text;
  server = await start(dataDir, ["k1"]);
  expect(isOnDisk(dataDir, hidden)).toBe(false);
  expect(server.revision).toBeGreaterThanOrEqual(revision);
  expect(await read()).toContain(Buffer.from(hidden).toString("base64"));
  expect((await ask(server, "GET", `${path}/old`)).status).toBe(404);
  await server.close();

  server = await start(dataDir, ["k2", "k1"]);
  await server.close();
  // The first key can be thrown away now.
  server = await start(dataDir, ["k2"]);
  expect(await read()).toContain(Buffer.from(hidden).toString("base64"));
  await server.close();
  await expect(start(dataDir, ["k1"])).rejects.toThrow('key "k2"');

  server = await start(dataDir, ["k2"], "first");
  expect(isOnDisk(dataDir, hidden)).toBe(true);
  expect(await read()).toContain(Buffer.from(hidden).toString("base64"));
  await server.close();
  server = await start(dataDir, []);
  expect(await read()).toContain(Buffer.from(hidden).toString("base64"));
  await server.close();
  expect(readdirSync(dataDir).toSorted()).toEqual(["journal", "pki"]);
});

test("a rewriting that a power cut interrupted is settled by any start: nothing is lost, no old value stays", async () => {
  const dataDir = temporaryFolder("at-rest");
  const journal = join(dataDir, "journal");
  const first = await start(dataDir, []);
  await ask(first, "POST", path, secret("kept", "plain-and-old"));
  await first.close();

  // Between the two renames: the old journal is aside, the new one not in its place.
  renameSync(journal, `${journal}.old`);
  const second = await start(dataDir, []);
  const found = await ask(second, "GET", `${path}/kept`);
  await second.close();
  // After the second one: the old journal is still there.
  cpSync(journal, `${journal}.old`, { recursive: true });
  await (await start(dataDir, [])).close();

  expect(found.status).toBe(200);
  expect(readdirSync(dataDir).filter((name) => name.startsWith("journal.") && !name.endsWith(".owner"))).toEqual([]);
});

test("the database of an earlier build is named, and no empty cluster begun beside it", async () => {
  const dataDir = temporaryFolder("at-rest");
  writeFileSync(join(dataDir, "journal.db"), "SQLite format 3");

  await expect(start(dataDir, [])).rejects.toThrow(/journal\.db: written by an earlier build/);
  expect(readdirSync(dataDir)).not.toContain("journal");
});
