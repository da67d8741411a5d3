import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { bucketUrl, s3Settings, settingsInEntry, settingsInEnvironment } from "./s3-settings.js";
import { closers, fetchOptions, startServer } from "./stores.fixture.js";

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const entry = { type: "s3", access_key_id: "key", secret_access_key: "secret", endpoint_url: "http://minio:9000/" };

test("an entry of storage-config says where and as whom", async () => {
  expect(settingsInEntry({ ...entry, region: "eu-1", verify_ssl: "0" }, "store")).toEqual({
    endpoint: "http://minio:9000",
    keys: { accessKey: "key", secretKey: "secret" },
    region: "eu-1",
    checkCertificate: false,
  });
  const settings = { env: {}, file: { path: "store", text: "{}" }, entry: { ...entry, type: "gs" }, client: {} };
  await expect(s3Settings(settings, "s3://b/x")).rejects.toThrow("store: type must be s3, not gs");
  const { secret_access_key: _, ...without } = entry;
  expect(() => settingsInEntry(without, "store")).toThrow("store: secret_access_key is missing");
  expect(settingsInEntry({ ...without, anonymous: "true" }, "store").keys).toBeUndefined();
});

test("so do AWS' variables; without keys they say nothing, unless what is public is wanted", async () => {
  const keys = { AWS_ACCESS_KEY_ID: "key", AWS_SECRET_ACCESS_KEY: "secret" };

  expect(await settingsInEnvironment({})).toBeUndefined();
  expect(await settingsInEnvironment({ AWS_NO_SIGN_REQUEST: "true" })).toMatchObject({
    endpoint: "https://s3.us-east-1.amazonaws.com",
  });
  expect((await settingsInEnvironment({ ...keys, AWS_DEFAULT_REGION: "eu-1" }))?.endpoint).toBe(
    "https://s3.eu-1.amazonaws.com",
  );
  expect(await settingsInEnvironment({ ...keys, AWS_ENDPOINT_URL: "minio:9000" })).toMatchObject({
    endpoint: "https://minio:9000",
    checkCertificate: true,
  });
});

test("buckets have hosts of their own where the store wants it and their names can be a host's label", async () => {
  const keys = { AWS_ACCESS_KEY_ID: "key", AWS_SECRET_ACCESS_KEY: "secret" };
  const at = (endpoint: string) => ({ ...keys, AWS_ENDPOINT_URL: endpoint, S3_USER_VIRTUAL_BUCKET: "true" });
  const urlIn = async (env: Record<string, string>, bucket: string, rest?: string) => {
    const found = await settingsInEnvironment(env);
    return found === undefined ? undefined : bucketUrl(found, bucket, rest);
  };
  expect(await urlIn(at("https://oss.example.com:8443/"), "models")).toBe("https://models.oss.example.com:8443/");
  expect(await urlIn(at("http://oss.example.com/s3"), "models", "a/b")).toBe("http://models.oss.example.com/s3/a/b");
  expect(await urlIn(at("https://oss.example.com"), "my.models", "a")).toBe("https://oss.example.com/my.models/a");
  expect(await urlIn(at("http://127.0.0.1:9000"), "models", "a")).toBe("http://127.0.0.1:9000/models/a");
  expect(await urlIn(at("http://[::1]:9000"), "models", "a")).toBe("http://[::1]:9000/models/a");
  expect(await urlIn({ ...keys, AWS_ENDPOINT_URL: "https://oss.example.com" }, "models")).toBe(
    "https://oss.example.com/models",
  );

  const s3cfg = async (hostBucket: string) => {
    const text = `host_base = oss.example.com\naccess_key = a\nsecret_key = b\nhost_bucket = ${hostBucket}\n`;
    const settings = { env: {}, file: { path: ".s3cfg", text }, entry: undefined, client: {} };
    return bucketUrl(await s3Settings(settings, "s3://models"), "models");
  };
  expect(await s3cfg("%(bucket)s.oss.example.com")).toBe("https://models.oss.example.com/");
  expect(await s3cfg("oss.example.com")).toBe("https://oss.example.com/models");
  expect(await s3cfg("%(bucket)s.s3.amazonaws.com")).toBe("https://oss.example.com/models");
});

test("a pod's identity is exchanged for keys of its role", async () => {
  const sts = await startServer(({ body }, response) => {
    const asked = new URLSearchParams(body);
    const isKnown =
      asked.get("RoleArn") === "arn:aws:iam::1:role/reader" && asked.get("WebIdentityToken") === "identity";
    if (!isKnown) return void response.writeHead(403).end("<Error><Code>AccessDenied</Code></Error>");
    response.end(
      "<AssumeRoleWithWebIdentityResponse><Credentials><AccessKeyId>a</AccessKeyId><SecretAccessKey>b</SecretAccessKey><SessionToken>c</SessionToken></Credentials></AssumeRoleWithWebIdentityResponse>",
    );
  });
  const { folder } = await fetchOptions("s3://b/x");
  const token = join(folder, "token");
  await writeFile(token, "identity\n");
  const env = {
    AWS_ENDPOINT_URL_STS: sts.url,
    AWS_WEB_IDENTITY_TOKEN_FILE: token,
    AWS_ROLE_ARN: "arn:aws:iam::1:role/reader",
  };

  expect((await settingsInEnvironment(env))?.keys).toEqual({ accessKey: "a", secretKey: "b", sessionToken: "c" });
  const denied = settingsInEnvironment({ ...env, AWS_ROLE_ARN: "arn:aws:iam::1:role/other" });
  await expect(denied).rejects.toMatchObject({ download: "AccessDenied" });
});
