import { join } from "node:path";
import { keepToken } from "../kernel/identity/index.js";
import type { ApiClient } from "../kernel/client/types.js";
import { NamespaceKind, SecretKind } from "../kernel/kinds/index.js";
import { systemNamespace } from "./host-services.js";

/** The bucket that holds tracking's artifacts. */
export const artifactBucket = "artifacts";

/** A key pair of the artifact store. */
export interface ArtifactKey {
  readonly accessKey: string;
  readonly secretKey: string;
  readonly canWrite: boolean;
}

/** The store's two keys, kept over restarts: one that writes, one that reads. */
export async function keepArtifactKeys(directory: string): Promise<{ readonly writer: ArtifactKey; readonly reader: ArtifactKey }> {
  const key = async (name: string, canWrite: boolean): Promise<ArtifactKey> => ({
    accessKey: `argosy-${name}`,
    secretKey: await keepToken(join(directory, `artifact-${name}.key`)),
    canWrite,
  });
  return { writer: await key("writer", true), reader: await key("reader", false) };
}

/**
 * Leaves the reader's key as s3cmd configurations (`.s3cfg`) in the hub's Secret `argosy-system/artifact-reader`: `.s3cfg` for pods, whose
 * address of the store is a cluster name.
 */
export async function publishArtifactReader(hub: ApiClient, key: ArtifactKey, options: { readonly host: string; readonly caPem: string }): Promise<void> {
  const lines = [
    "[default]",
    `access_key = ${key.accessKey}`,
    `secret_key = ${key.secretKey}`,
    `host_base = ${options.host}`,
    `host_bucket = ${options.host}`,
    "use_https = True",
    `ca_certs = ${options.caPem.trim().replaceAll("\n", "\\n")}`,
    "",
  ];
  await hub.resource(NamespaceKind).apply({ metadata: { name: systemNamespace } }, { fieldManager: "argosy-platform", force: true });
  await hub.resource(SecretKind).apply(
    {
      metadata: { name: "artifact-reader", namespace: systemNamespace, labels: { "tensorstack.dev/resource": "s3" } },
      type: "Opaque",
      data: { ".s3cfg": Buffer.from(lines.join("\n")).toString("base64") },
    },
    { fieldManager: "argosy-platform", force: true, namespace: systemNamespace },
  );
}
