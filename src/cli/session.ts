import { access } from "node:fs/promises";
import { join, resolve } from "node:path";
import { createClient, httpTransport, loadKubeconfig } from "../kernel/client/index.js";
import type { ApiClient } from "../kernel/client/types.js";
import { systemClock, systemRandom } from "../kernel/clock/index.js";
import { NotRunningError } from "./errors.js";

/** Options that every command on resources shares. */
export interface ConnectionOptions {
  readonly data?: string;
  readonly kubeconfig?: string;
  readonly context?: string;
}

/** A client of one cluster, with the namespace that its context names. */
export interface Session {
  readonly client: ApiClient;
  readonly context: string;
  readonly namespace: string;
}

/** The data directory that a command works on: `--data`, else `.argosy` here. */
export function dataDirectory(options: ConnectionOptions): string {
  return resolve(options.data ?? ".argosy");
}

/** Connects as the kubeconfig says: `--kubeconfig`, else the data directory's. */
export async function connect(options: ConnectionOptions): Promise<Session> {
  const file = options.kubeconfig ?? join(dataDirectory(options), "kubeconfig");
  try {
    await access(file);
  } catch (error) {
    throw new NotRunningError(
      `no kubeconfig at ${file}: start Argosy there first (\`argosy up --data ${dataDirectory(options)}\`) or name another with --kubeconfig`,
      {
        cause: error,
      },
    );
  }
  const config = await loadKubeconfig(file, options.context);
  const client = createClient({ transport: httpTransport(config.transport), clock: systemClock, random: systemRandom });
  return { client, context: config.name, namespace: config.namespace };
}
