import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startTestCluster();
});
afterAll(() => cluster.close());

const statusOf = async (method: string, path: string) =>
  (
    await cluster.server.handle({
      method,
      path,
      query: new URLSearchParams(),
      headers: { authorization: `Bearer ${cluster.server.adminToken}` },
      body: new Uint8Array(),
      signal: new AbortController().signal,
    })
  ).status;

test.each([
  ["/version", 405],
  ["/api", 405],
  ["/api/v1", 405],
  ["/apis/apps/v1", 405],
  ["/apis", 200],
  ["/apis/apps", 200],
  ["/healthz", 200],
  ["/openapi/v2", 200],
  ["/apis/nope.io/v1", 404],
])("%s is read; other methods are answered %i there, as upstream", async (path, status) => {
  for (const method of ["HEAD", "POST", "PUT", "OPTIONS"])
    expect([method, await statusOf(method, path)]).toEqual([method, status]);
  expect(await statusOf("GET", path)).toBe(status === 404 ? 404 : 200);
});
