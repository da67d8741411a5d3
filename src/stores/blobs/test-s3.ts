import { systemClock, systemRandom } from "../../kernel/clock/index.js";
import { createAuthority } from "../../kernel/identity/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import type { S3Credential } from "./s3-auth.js";
import type { S3Access } from "./s3-client.js";
import { createS3Server } from "./s3-server.js";
import type { BlobStore } from "./types.js";

/** The secret of every access key here. */
export const TEST_SECRET = "secret+/=";

/** An S3 server over a store, as bucket `artifacts`, on a free port; only for tests. */
export async function startS3(
  store: BlobStore,
  credentials: readonly S3Credential[] = [
    {
      accessKeyId: "all",
      secretAccessKey: TEST_SECRET,
      grants: [{ bucket: "artifacts", prefix: "", access: "read-write" }],
    },
  ],
): Promise<{ access: Omit<S3Access, "clock">; url: string; caPem: string; close: () => Promise<void> }> {
  const authority = await createAuthority({ clock: systemClock, name: "test" });
  const { certPem, keyPem } = await authority.issueServer(["127.0.0.1"]);
  const server = createS3Server({
    buckets: { artifacts: store },
    credentials,
    certPem,
    keyPem,
    port: 0,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
  });
  const { url } = await server.start();
  const access = {
    endpoint: url,
    bucket: "artifacts",
    region: "us-east-1",
    accessKeyId: "all",
    secretAccessKey: TEST_SECRET,
    caPem: authority.caPem,
  };
  return { access, url, caPem: authority.caPem, close: () => server.close() };
}
