import { expect, test } from "vitest";
import { settingsInEntry, settingsInEnvironment } from "./s3-settings.js";

const entry = { type: "s3", access_key_id: "key", secret_access_key: "secret", endpoint_url: "http://minio:9000/" };

test("an entry of storage-config says where and as whom", () => {
  expect(settingsInEntry(JSON.stringify({ ...entry, region: "eu-1", verify_ssl: "0" }), "store")).toEqual({
    endpoint: "http://minio:9000",
    accessKey: "key",
    secretKey: "secret",
    region: "eu-1",
    checkCertificate: false,
  });
  expect(() => settingsInEntry(JSON.stringify({ ...entry, type: "gs" }), "store")).toThrow("store: type must be s3");
  const { secret_access_key: _, ...without } = entry;
  expect(() => settingsInEntry(JSON.stringify(without), "store")).toThrow("store: secret_access_key is missing");
  expect(() => settingsInEntry("{", "store")).toThrow("store: is no JSON object");
});

test("so do AWS' variables; without keys they say nothing", () => {
  const keys = { AWS_ACCESS_KEY_ID: "key", AWS_SECRET_ACCESS_KEY: "secret" };

  expect(settingsInEnvironment({})).toBeUndefined();
  expect(settingsInEnvironment({ ...keys, AWS_DEFAULT_REGION: "eu-1" })?.endpoint).toBe(
    "https://s3.eu-1.amazonaws.com",
  );
  expect(settingsInEnvironment({ ...keys, AWS_ENDPOINT_URL: "minio:9000" })).toMatchObject({
    endpoint: "https://minio:9000",
    checkCertificate: true,
  });
});
