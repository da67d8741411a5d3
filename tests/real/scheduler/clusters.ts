import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ApiClient, createClient, httpTransport } from "../../../src/kernel/client/index.js";
import { seededRandom, systemClock } from "../../../src/kernel/clock/index.js";
import type { Ledger } from "../../../src/stores/ledger/index.js";
import { startStack } from "../../../src/testing/real-stack.js";
import { startOwnCluster } from "../own-cluster.js";

/** A cluster with a scheduler, and nothing else that would act on its own but the binding of volumes. */
export interface SchedulingCluster {
  readonly client: ApiClient;
  /** Ours writes down what it thought. */
  readonly ledger?: Ledger;
  close(): Promise<void>;
}

const binder = "persistentvolume-binder-controller";

/** Real programs: etcd, kube-apiserver, kube-scheduler and the volume binder of kube-controller-manager. */
export async function startReal(programs: string, verbosity = 0): Promise<SchedulingCluster> {
  const stack = await startStack(programs);
  const folder = mkdtempSync(join(tmpdir(), "argosy-scheduler-"));
  const config = join(folder, "scheduler.json");
  writeFileSync(
    config,
    JSON.stringify({
      apiVersion: "kubescheduler.config.k8s.io/v1",
      kind: "KubeSchedulerConfiguration",
      clientConnection: { kubeconfig: stack.kubeconfig, qps: 1000, burst: 1000 },
      leaderElection: { leaderElect: false },
      podInitialBackoffSeconds: 1,
      podMaxBackoffSeconds: 1,
    }),
  );
  const children: ChildProcess[] = [];
  const start = (program: string, flags: Record<string, string>): void => {
    const log = openSync(join(folder, `${program}.log`), "a");
    const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
    children.push(spawn(join(programs, program), args, { stdio: ["ignore", log, log] }));
    closeSync(log);
  };
  start("kube-scheduler", {
    config,
    "secure-port": "0",
    // Left out here, see docs/kubernetes-differences.md.
    "feature-gates": "DynamicResourceAllocation=false",
    v: String(verbosity),
  });
  start("kube-controller-manager", {
    kubeconfig: stack.kubeconfig,
    controllers: binder,
    "leader-elect": "false",
    "secure-port": "0",
    "kube-api-qps": "1000",
    "kube-api-burst": "1000",
    "pvclaimbinder-sync-period": "1s",
  });
  const transport = httpTransport({ server: stack.url, caPem: stack.caPem, token: stack.token });
  const client = createClient({ transport, clock: systemClock, random: seededRandom(1) });
  return {
    client,
    async close() {
      for (const child of children) {
        const ended = new Promise((resolve) => child.once("exit", resolve));
        child.kill("SIGKILL");
        if (child.exitCode === null && child.signalCode === null) await ended;
      }
      await client.close();
      await stack.close();
      if (verbosity === 0) rmSync(folder, { recursive: true, force: true });
      else process.stderr.write(`logs: ${folder}\n`);
    },
  };
}

/** Our API server, scheduler and volume binder, in memory. */
export function startOwn(): Promise<SchedulingCluster> {
  const wanted = ["default-scheduler", "persistentvolume-controller", "persistentvolume-phase-controller"];
  return startOwnCluster((name) => wanted.includes(name));
}
