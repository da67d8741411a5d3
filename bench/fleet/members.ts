/** Member clusters: an embedded API server each, in a process of its own with a directory on the disk; the same for both hubs. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createApiServer } from "../../src/cluster/apiserver/index.js";
import { systemClock, systemRandom } from "../../src/kernel/clock/index.js";
import { createLogger } from "../../src/kernel/log/index.js";
import { collectSeldom } from "../../src/kernel/program/index.js";
import type { Address } from "../apiserver/connection.js";
import { Pool, until } from "./client.js";
import { clusters, namespace, namespaceDraft } from "./objects.js";
import { kill, start } from "./processes.js";

/** A member that runs. */
export interface Member {
  readonly name: string;
  readonly address: Address;
  readonly pid: number;
  /** It answers nobody until it is thawed. */
  freeze(): void;
  thaw(): void;
  stop(): Promise<void>;
}

/** Starts members. `flags`: of Node. */
export async function startMembers(names: readonly string[], flags: readonly string[] = []): Promise<Member[]> {
  return Promise.all(names.map((name) => startMember(name, flags)));
}

async function startMember(name: string, flags: readonly string[]): Promise<Member> {
  const directory = mkdtempSync(join(tmpdir(), "argosy-bench-member-"));
  const process_ = start([...flags, process.argv[1] ?? "", "--serve-member", name, "--data", directory]);
  const address = JSON.parse(await process_.said("stdout", /^\{/, 30)) as Address;
  const pid = process_.child.pid ?? 0;
  return {
    name,
    address,
    pid,
    freeze: () => kill(pid, "SIGSTOP"),
    thaw: () => kill(pid, "SIGCONT"),
    stop: async () => {
      await process_.end();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** The body of a member's process: its address goes to standard output as one line of JSON. */
export async function serveMember(name: string, dataDir: string): Promise<void> {
  // As `argosy up`, whose API server this is.
  collectSeldom();
  const log = createLogger({ clock: systemClock, level: "warn", write: (line) => process.stderr.write(`${line}\n`) });
  const server = await createApiServer({
    clusterName: name,
    dataDir,
    clock: systemClock,
    random: systemRandom,
    log,
    serviceCidr: "10.96.0.0/16",
    tokens: [],
    authorization: "rbac",
  });
  const { url, caPem } = await server.listen({ host: "127.0.0.1", port: 0 });
  process.once("SIGTERM", () => void server.close().then(() => process.exit(0)));
  process.stdout.write(`${JSON.stringify({ port: Number(new URL(url).port), token: server.adminToken, caPem })}\n`);
}

/** Tells a hub of members, waits until they are Ready and the loads' namespace is in all of them. */
export async function joinMembers(hub: Address, members: readonly Member[]): Promise<void> {
  const pool = await Pool.open(hub, 2);
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  for (const { name, address } of members) {
    const reference = { namespace: "karmada-cluster", name };
    await pool.send("POST", "/api/v1/namespaces/karmada-cluster/secrets", {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name },
      data: { token: base64(address.token), caBundle: base64(address.caPem ?? "") },
    });
    await pool.send("POST", clusters, {
      apiVersion: "cluster.karmada.io/v1alpha1",
      kind: "Cluster",
      metadata: { name },
      spec: {
        syncMode: "Push",
        apiEndpoint: `https://127.0.0.1:${address.port}`,
        secretRef: reference,
        impersonatorSecretRef: reference,
      },
    });
  }
  for (const { name } of members)
    await until(`${name} is Ready`, 60, async () => isReady(await pool.json(`${clusters}/${name}`)));
  await pool.send("POST", "/api/v1/namespaces", namespaceDraft());
  for (const { name, address } of members) {
    const own = await Pool.open(address, 1);
    await until(`the namespace is in ${name}`, 60, () =>
      own.send("GET", `/api/v1/namespaces/${namespace}`).then(
        () => true,
        () => false,
      ),
    );
    own.close();
  }
  pool.close();
}

export function isReady(cluster: unknown): boolean {
  const { status } = cluster as {
    readonly status?: { readonly conditions?: readonly { type: string; status: string }[] };
  };
  return status?.conditions?.some((each) => each.type === "Ready" && each.status === "True") === true;
}
