import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type RealStack, startStack } from "../../../src/testing/real-stack.js";

/** A real control plane with its controllers. */
export interface Controlled {
  readonly stack: RealStack;
  close(): Promise<void>;
}

/** etcd, kube-apiserver and kube-controller-manager with everything it does where there are no nodes. */
export async function startControlled(programs: string): Promise<Controlled> {
  const stack = await startStack(programs);
  const { folder } = stack;
  writeFileSync(join(folder, "root.crt"), stack.caPem);
  const flags = {
    kubeconfig: stack.kubeconfig,
    "leader-elect": "false",
    "secure-port": "0",
    "root-ca-file": join(folder, "root.crt"),
    "service-account-private-key-file": join(folder, "sa.key"),
  };
  const log = openSync(join(folder, "kube-controller-manager.log"), "a");
  const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
  const child: ChildProcess = spawn(join(programs, "kube-controller-manager"), args, { stdio: ["ignore", log, log] });
  closeSync(log);
  return {
    stack,
    async close() {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      if (child.exitCode === null && child.signalCode === null) await ended;
      await stack.close();
    },
  };
}
