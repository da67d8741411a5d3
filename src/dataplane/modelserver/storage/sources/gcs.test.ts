import { generateKeyPairSync } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { importSPKI, jwtVerify } from "jose";
import { afterEach, expect, test } from "vitest";
import { fetchModel } from "../fetch.js";
import {
  closers,
  contentOf,
  digestOf,
  fetchOptions,
  sendContent,
  sendJson,
  startServer,
  type TestServer,
} from "../stores.fixture.js";

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Stored {
  content: Buffer;
  generation: string;
  readonly checksum: Record<string, string>;
}

/** As much of storage/v1 as is read from, and a token endpoint. */
async function startGoogle(objects: Map<string, Stored>, wanted = "") {
  const assertions: string[] = [];
  const server: TestServer = await startServer((asked, response) => {
    if (asked.url.pathname === "/token") {
      assertions.push(new URLSearchParams(asked.body).get("assertion") ?? "");
      return sendJson(response, { access_token: "short-lived", expires_in: 3599, token_type: "Bearer" });
    }
    if ((asked.headers.authorization ?? "") !== wanted)
      return sendJson(response, { error: { code: 403, message: "no storage.objects.list access" } }, 403);
    const key = /^\/storage\/v1\/b\/bucket\/o(?:\/(.*))?$/.exec(asked.url.pathname)?.[1];
    if (key === undefined) return sendJson(response, listing(objects, asked.url));
    const found = objects.get(decodeURIComponent(key));
    if (found === undefined) return sendJson(response, { error: { message: "No such object" } }, 404);
    if (asked.url.searchParams.get("ifGenerationMatch") !== found.generation)
      return sendJson(response, { error: { message: "conditionNotMet" } }, 412);
    return sendContent(asked, response, found.content);
  });
  return { server, assertions };
}

function listing(objects: Map<string, Stored>, url: URL): unknown {
  const prefix = url.searchParams.get("prefix") ?? "";
  const at = Number(url.searchParams.get("pageToken") ?? 0);
  const keys = [...objects.keys()].filter((key) => key.startsWith(prefix)).sort();
  return {
    kind: "storage#objects",
    items: keys.slice(at, at + 2).map((name) => {
      const { content, generation, checksum } = objects.get(name) ?? { content: Buffer.alloc(0) };
      return { name, size: String(content.length), generation, ...checksum };
    }),
    ...(at + 2 < keys.length ? { nextPageToken: String(at + 2) } : {}),
  };
}

const stored = (content: Buffer): Stored => ({
  content,
  generation: "1",
  checksum: { md5Hash: digestOf("md5", content, "base64") },
});

test("a folder is read as a service account, whose word is exchanged for a token", async () => {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const objects = new Map([
    ["m/model.onnx", stored(contentOf(2500))],
    ["m/a b/labels.txt", stored(contentOf(7))],
    ["m/empty", stored(Buffer.alloc(0))],
    ["models/other", stored(contentOf(3))],
  ]);
  const { server, assertions } = await startGoogle(objects, "Bearer short-lived");
  const options = await fetchOptions("gs://bucket/m", { STORAGE_EMULATOR_HOST: server.host });
  const key = join(options.folder, "key.json");
  await writeFile(
    key,
    JSON.stringify({
      ...{
        type: "service_account",
        client_email: "reader@project",
        private_key_id: "k1",
        token_uri: `${server.url}/token`,
      },
      private_key: privateKey.export({ type: "pkcs8", format: "pem" }),
    }),
  );
  await fetchModel({ ...options, env: { ...options.env, GOOGLE_APPLICATION_CREDENTIALS: key } });

  const spki = await importSPKI(String(publicKey.export({ type: "spki", format: "pem" })), "RS256");
  const { payload, protectedHeader } = await jwtVerify(assertions[0] ?? "", spki, { audience: `${server.url}/token` });
  expect(await readFile(join(options.destination, "model.onnx"))).toEqual(contentOf(2500));
  expect(await readFile(join(options.destination, "a b", "labels.txt"))).toEqual(contentOf(7));
  expect([payload.iss, payload["scope"], protectedHeader.kid]).toEqual([
    "reader@project",
    "https://www.googleapis.com/auth/devstorage.read_only",
    "k1",
  ]);
  expect(assertions).toHaveLength(1);
  await expect(fetchModel(options)).rejects.toMatchObject({
    download: "AccessDenied",
    message: expect.stringContaining("no storage.objects.list access"),
  });
});

test("objects of several parts have a CRC, which is held against the content", async () => {
  // The CRC of "123456789" is E3069283 (RFC 3720, B.4).
  const right = { content: Buffer.from("123456789"), generation: "1", checksum: { crc32c: "4waSgw==" } };
  const objects = new Map([["m/model.onnx", right]]);
  const { server } = await startGoogle(objects);
  const options = await fetchOptions("gs://bucket/m/model.onnx", { STORAGE_EMULATOR_HOST: server.url });
  await fetchModel(options);
  objects.set("m/model.onnx", { ...right, content: Buffer.from("123456780"), generation: "2" });

  await expect(fetchModel(options)).rejects.toMatchObject({ download: "ChecksumMismatch" });
  expect(await readFile(join(options.destination, "model.onnx"), "utf8")).toBe("123456789");
});

test("an object that is replaced while it is read is read anew", async () => {
  const objects = new Map([["m/model.onnx", stored(contentOf(2000))]]);
  const { server } = await startGoogle(objects);
  const options = await fetchOptions("gs://bucket/m/", { STORAGE_EMULATOR_HOST: server.url });
  let isReplaced = false;
  await fetchModel({
    ...options,
    parallel: 1,
    onRetry: () => {
      isReplaced = true;
    },
    clock: {
      ...options.clock,
      monotonicMs: () => {
        // Something came: now it is another.
        if (server.asked.length === 2) objects.set("m/model.onnx", { ...stored(contentOf(900)), generation: "2" });
        return options.clock.monotonicMs();
      },
    },
  });

  expect(isReplaced).toBe(true);
  expect(await readFile(join(options.destination, "model.onnx"))).toEqual(contentOf(900));
});

test.each([
  ["{", "is no key file in JSON"],
  ['{"type": "service_account", "client_email": "a", "private_key": "hunter2"}', "private_key is no RSA key"],
  ['{"type": "external_account"}', "external_account are not offered"],
])("a key file that cannot be used is told without its content: %s", async (text, words) => {
  const { server } = await startGoogle(new Map());
  const options = await fetchOptions("gs://bucket/m", { STORAGE_EMULATOR_HOST: server.url });
  const key = join(options.folder, "key.json");
  await writeFile(key, text);
  const failed = fetchModel({ ...options, env: { ...options.env, GOOGLE_APPLICATION_CREDENTIALS: key } });

  const message = await failed.catch((error: unknown) => String(error));
  expect(message).toContain(words);
  expect(message).not.toContain("hunter2");
});
