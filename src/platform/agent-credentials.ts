import { chmod, mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { dump } from "js-yaml";
import { podHostAddresses } from "../cluster/node/index.js";
import { systemClock } from "../kernel/clock/index.js";
import { InputError } from "../kernel/errors/index.js";
import { replaceFile } from "../kernel/files/index.js";
import { loadAuthority } from "../kernel/identity/index.js";
import { readAddresses } from "./addresses.js";
import { layoutOf } from "./layout.js";

/** Files with which a node joins an embedded cluster; keep them as secrets. */
export interface NodeCredentials {
  /** For `argosy agent --level node --kubeconfig`. */
  readonly kubeconfig: string;
  /** For `--serving-certificate`. */
  readonly servingCertificate: string;
}

export interface NodeCredentialsInput {
  /** Data directory of the `argosy up` that runs the cluster. */
  readonly dataDir: string;
  readonly cluster: string;
  readonly node: string;
  /** Further names and addresses under which the API server reaches the node. */
  readonly addresses: readonly string[];
  readonly folder: string;
}

/** Issues a node's identity (`system:node:<name>`) and serving certificate by the authority of an embedded cluster. Throws `InputError`. */
export async function writeNodeCredentials(input: NodeCredentialsInput): Promise<NodeCredentials> {
  const { dataDir, cluster, node, addresses } = input;
  const layout = layoutOf(dataDir);
  const server = (await readAddresses(layout))?.clusters.find(({ name }) => name === cluster)?.api;
  const authority = await loadAuthority(join(layout.cluster(cluster), "pki"), systemClock);
  if (server === undefined || authority === undefined) {
    throw new InputError(
      `${layout.root} has no embedded cluster ${cluster}: \`argosy up --data ${layout.root}\` makes one`,
    );
  }
  const client = await authority.issueClient(`system:node:${node}`, ["system:nodes"]);
  const names = [node, "localhost", "127.0.0.1", ...podHostAddresses(), ...addresses];
  const serving = await authority.issueServer([...new Set(names)], { commonName: `system:node:${node}` });
  const folder = resolve(input.folder);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await chmod(folder, 0o700);
  const base64 = (pem: string): string => Buffer.from(pem).toString("base64");
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": cluster,
    clusters: [{ name: cluster, cluster: { server, "certificate-authority-data": base64(authority.caPem) } }],
    users: [
      {
        name: `system:node:${node}`,
        user: { "client-certificate-data": base64(client.certPem), "client-key-data": base64(client.keyPem) },
      },
    ],
    contexts: [{ name: cluster, context: { cluster, user: `system:node:${node}` } }],
  };
  const files = { kubeconfig: join(folder, "kubeconfig"), servingCertificate: join(folder, "serving.pem") };
  await replaceFile(files.kubeconfig, dump(config, { lineWidth: -1 }), { isDurable: true });
  await replaceFile(files.servingCertificate, `${serving.certPem}${serving.keyPem}`, { isDurable: true });
  return files;
}
