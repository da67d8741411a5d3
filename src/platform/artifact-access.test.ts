import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { seededRandom, systemClock } from "../kernel/clock/index.js";
import { createAuthority } from "../kernel/identity/index.js";
import { SecretKind } from "../kernel/kinds/index.js";
import { silentLogger } from "../kernel/log/index.js";
import { createS3Blobs, createS3Server, openDirectoryBlobs, type S3Credential } from "../stores/blobs/index.js";
import { startTestCluster } from "../testing/index.js";
import { artifactBucket, keepArtifactKeys, publishArtifactReader } from "./artifact-access.js";

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "argosy-artifacts-"));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

test("keys stay over restarts, apart, and are the owner's alone", async () => {
  const directory = folder();

  const keys = await keepArtifactKeys(directory);

  expect(await keepArtifactKeys(directory)).toEqual(keys);
  expect(keys.reader.secretAccessKey).not.toBe(keys.writer.secretAccessKey);
  expect(statSync(join(directory, "artifact-writer.key")).mode & 0o777).toBe(0o600);
});

test("the writer's key writes, the reader's only reads", async () => {
  const { writer, reader } = await keepArtifactKeys(folder());
  const authority = await createAuthority({ clock: systemClock, name: "test" });
  const server = createS3Server({
    buckets: { [artifactBucket]: await openDirectoryBlobs({ directory: folder(), random: seededRandom(1) }) },
    credentials: [writer, reader],
    ...(await authority.issueServer(["127.0.0.1"])),
    port: 0,
    clock: systemClock,
    random: seededRandom(2),
    log: silentLogger,
  });
  const { url } = await server.start();
  const as = ({ accessKeyId, secretAccessKey }: S3Credential) =>
    createS3Blobs({
      endpoint: url,
      bucket: artifactBucket,
      region: "us-east-1",
      accessKeyId,
      secretAccessKey,
      caPem: authority.caPem,
      clock: systemClock,
    });
  const [writing, reading] = [as(writer), as(reader)];
  onTestFinished(async () => {
    await writing.close();
    await reading.close();
    await server.close();
  });

  await writing.put("model/1", Buffer.from("weights"));

  expect(await reading.head("model/1")).toMatchObject({ sizeBytes: 7 });
  await expect(reading.put("model/2", Buffer.from("x"))).rejects.toMatchObject({ reason: "Refused" });
  await expect(reading.delete("model/1")).rejects.toMatchObject({ reason: "Refused" });
});

test("the hub holds the reader's key as an s3cmd configuration, made anew without a trace when it is there", async () => {
  const hub = await startTestCluster();
  onTestFinished(() => hub.close());
  const { reader } = await keepArtifactKeys(folder());
  const publish = () => publishArtifactReader(hub.client, reader, { host: "artifacts:9000", caPem: "A\nB\n" });
  const secret = () => hub.client.resource(SecretKind).get("artifact-reader", { namespace: "argosy-system" });

  await publish();
  const first = await secret();
  await publish();

  const text = Buffer.from(first.data?.[".s3cfg"] ?? "", "base64").toString();
  expect(text.split("\n")).toEqual([
    "[default]",
    "access_key = argosy-reader",
    `secret_key = ${reader.secretAccessKey}`,
    "host_base = artifacts:9000",
    "host_bucket = artifacts:9000",
    "use_https = True",
    "ca_certs = A\\nB",
    "",
  ]);
  expect((await secret()).metadata.resourceVersion).toBe(first.metadata.resourceVersion);
});
