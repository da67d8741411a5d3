import { writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../../kernel/clock/index.js";
import { createAuthority } from "../../../kernel/identity/index.js";
import { fetchModel } from "./fetch.js";
import { closers, contentOf, fetchOptions, sendContent } from "./stores.fixture.js";

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A store behind a certificate of its own authority: one object, by HTTP and by S3. */
async function startStore() {
  const authority = await createAuthority({ name: "theirs", clock: systemClock });
  const { certPem: cert, keyPem: key } = await authority.issueServer(["127.0.0.1"]);
  const content = contentOf(100);
  const server = createServer({ cert, key }, ({ method = "", url: path = "", headers }, response) => {
    const url = new URL(path, "https://127.0.0.1");
    if (url.searchParams.has("list-type"))
      response.end(
        '<ListBucketResult><Contents><Key>m/model.onnx</Key><Size>100</Size><ETag>"a"</ETag></Contents></ListBucketResult>',
      );
    else sendContent({ method, path, url, headers, body: "" }, response, content, { etag: '"a"' });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(
    () => server.closeAllConnections(),
    () => server.close(),
  );
  const address = server.address();
  const port = typeof address === "object" ? (address?.port ?? 0) : 0;
  return { host: `127.0.0.1:${port}`, pem: authority.caPem };
}

const readStore = { AWS_NO_SIGN_REQUEST: "true" };

test.each([
  ["an .s3cfg", (host: string) => `[default]\nhost_base = ${host}\naccess_key = a\nsecret_key = b\n`],
  [
    "an entry of storage-config",
    (host: string) =>
      JSON.stringify({ type: "s3", endpoint_url: `https://${host}`, access_key_id: "a", secret_access_key: "b" }),
  ],
])(
  "S3's keys in %s may leave its authorities to AWS_CA_BUNDLE, which stands instead of all others",
  async (_form, text) => {
    const { host, pem } = await startStore();
    const options = await fetchOptions("s3://b/m/");
    const [storageConfig, right, wrong] = ["keys", "right.pem", "wrong.pem"].map((name) => join(options.folder, name));
    await writeFile(storageConfig ?? "", text(host));
    await writeFile(right ?? "", pem);
    await writeFile(wrong ?? "", (await createAuthority({ name: "other", clock: systemClock })).caPem);
    const fetchWith = (env: Record<string, string | undefined>): Promise<string> =>
      fetchModel({ ...options, storageConfig: storageConfig ?? "", env, retryForMs: 0 });

    await expect(fetchWith({ ARGOSY_CA_BUNDLE: right, AWS_CA_BUNDLE: wrong })).rejects.toThrow("is not trusted here");
    expect(await fetchWith({ ARGOSY_CA_BUNDLE: wrong, AWS_CA_BUNDLE: right })).toBe(options.destination);
  },
);

test.each([
  ["https", (host: string) => [`https://${host}/model.onnx`, {}] as const],
  ["s3", (host: string) => ["s3://b/m/", { ...readStore, AWS_ENDPOINT_URL: `https://${host}` }] as const],
])("a store is trusted by the bundle that the platform gives, as it is at each fetch: %s", async (_scheme, at) => {
  const { host, pem } = await startStore();
  const [uri, env] = at(host);
  const options = await fetchOptions(uri);
  const bundle = join(options.folder, "cabundle.crt");
  const fetching = { ...options, env: { ...env, ARGOSY_CA_BUNDLE: bundle }, retryForMs: 0 };

  await writeFile(bundle, (await createAuthority({ name: "other", clock: systemClock })).caPem);
  await expect(fetchModel(fetching)).rejects.toThrow("its certificate is not trusted here");
  await writeFile(bundle, pem);
  expect(await fetchModel(fetching)).toBe(options.destination);
  await expect(
    fetchModel({ ...fetching, env: { ...env, ARGOSY_CA_BUNDLE: join(options.folder, "none") } }),
  ).rejects.toThrow("ARGOSY_CA_BUNDLE");
});
