import { expect, test } from "vitest";
import { s3Settings, settingsInEntry, settingsInEnvironment } from "./s3-settings.js";

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
