import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ApiClient, createClient, httpTransport } from "../../../src/kernel/client/index.js";
import { seededRandom, systemClock } from "../../../src/kernel/clock/index.js";
import { startStack } from "../../../src/testing/real-stack.js";
import { startOwnCluster } from "../own-cluster.js";

/** A cluster with controllers, without scheduler and nodes. */
export interface ControlledCluster {
  readonly client: ApiClient;
  close(): Promise<void>;
}

/** etcd, kube-apiserver and kube-controller-manager. */
export async function startReal(programs: string): Promise<ControlledCluster> {
  const stack = await startStack(programs);
  const folder = mkdtempSync(join(tmpdir(), "argosy-controllers-"));
  writeFileSync(join(folder, "ca.crt"), stack.caPem);
  const flags = {
    kubeconfig: stack.kubeconfig,
    "leader-elect": "false",
    "secure-port": "0",
    "kube-api-qps": "1000",
    "kube-api-burst": "1000",
    "root-ca-file": join(folder, "ca.crt"),
  };
  const log = openSync(join(folder, "kube-controller-manager.log"), "a");
  const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
  const child: ChildProcess = spawn(join(programs, "kube-controller-manager"), args, { stdio: ["ignore", log, log] });
  closeSync(log);
  const transport = httpTransport({ server: stack.url, caPem: stack.caPem, token: stack.token });
  const client = createClient({ transport, clock: systemClock, random: seededRandom(1) });
  return {
    client,
    async close() {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      if (child.exitCode === null && child.signalCode === null) await ended;
      await client.close();
      await stack.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Our API server and controllers, in memory. */
export function startOwn(): Promise<ControlledCluster> {
  return startOwnCluster((name) => name !== "default-scheduler");
}
