import { join } from "node:path";
import type { ApiClient } from "../kernel/client/types.js";
import { keepToken } from "../kernel/identity/index.js";
import { SecretKind } from "../kernel/kinds/index.js";
import type { S3Credential } from "../stores/blobs/index.js";
import { systemNamespace } from "./host-services.js";
import { ensureNamespace, fieldManager } from "./install.js";

/** The bucket that holds tracking's artifacts. */
export const artifactBucket = "artifacts";

/** The hub's Secret with the key that reads artifacts. */
export const artifactReader = "artifact-reader";

/** The store's two keys, kept over restarts: one that writes, one that reads. */
export async function keepArtifactKeys(
  directory: string,
): Promise<{ readonly writer: S3Credential; readonly reader: S3Credential }> {
  const key = async (name: string, canWrite: boolean): Promise<S3Credential> => ({
    accessKeyId: `argosy-${name}`,
    secretAccessKey: await keepToken(join(directory, `artifact-${name}.key`)),
    grants: [{ bucket: artifactBucket, prefix: "", access: canWrite ? "read-write" : "read" }],
  });
  return { writer: await key("writer", true), reader: await key("reader", false) };
}

/** Leaves the reader's key as an s3cmd configuration (`.s3cfg`) in the hub's Secret `artifact-reader`, in `argosy-system` unless told otherwise. */
export async function publishArtifactReader(
  hub: ApiClient,
  key: S3Credential,
  options: { readonly host: string; readonly caPem: string; readonly namespace?: string },
): Promise<void> {
  const namespace = options.namespace ?? systemNamespace;
  const lines = [
    "[default]",
    `access_key = ${key.accessKeyId}`,
    `secret_key = ${key.secretAccessKey}`,
    `host_base = ${options.host}`,
    `host_bucket = ${options.host}`,
    "use_https = True",
    `ca_certs = ${options.caPem.trim().replaceAll("\n", "\\n")}`,
    "",
  ];
  await ensureNamespace(hub, namespace);
  await hub.resource(SecretKind).apply(
    {
      metadata: { name: artifactReader, namespace, labels: { "tensorstack.dev/resource": "s3" } },
      type: "Opaque",
      data: { ".s3cfg": Buffer.from(lines.join("\n")).toString("base64") },
    },
    { fieldManager, force: true, namespace },
  );
}
