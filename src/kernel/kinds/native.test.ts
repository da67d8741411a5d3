import { expect, test } from "vitest";
import { startTestCluster } from "../../testing/index.js";
import { apiVersionOf, nativeKinds } from "./index.js";

test("native kinds are served under the coordinates that are written here", async () => {
  const cluster = await startTestCluster();

  for (const kind of nativeKinds) expect(await cluster.client.findKind(apiVersionOf(kind), kind.kind)).toEqual(kind);

  expect(nativeKinds.length).toBeGreaterThan(35);
  await cluster.close();
});
