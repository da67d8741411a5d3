/** The hubs that are measured, each with three members of its own. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { load } from "js-yaml";
import { packageRoot } from "../../src/kernel/assets/index.js";
import type { Address } from "../apiserver/connection.js";
import { join_, type Member, startMembers } from "./members.js";
import { adopt, forget, kill, type Started, start } from "./processes.js";

/** A hub that runs, with its members. */
export interface Hub {
  readonly name: string;
  readonly address: Address;
  readonly members: readonly Member[];
  /** Of everything that is the hub; of no member. */
  pids(): readonly number[];
  /** Ends what is the hub; the members go on. */
  halt(): Promise<void>;
  /** Starts it again on the same data. */
  resume(): Promise<void>;
  stop(): Promise<void>;
}

export const memberNames = ["member1", "member2", "member3"] as const;

/** Argosy as a user starts it, without clusters of its own beside the hub. */
export async function startArgosy(): Promise<Hub> {
  const data = mkdtempSync(join(tmpdir(), "argosy-bench-hub-"));
  const words = [join(packageRoot(), "bin", "argosy.mjs"), "up", "--data", data, "--members", ""];
  let hub: Started | undefined;
  let gateway: number | undefined;
  const resume = async (): Promise<void> => {
    hub = start([...words, "--without", "scheduler,nodes,workloads"]);
    await hub.said("stderr", /^ready:/, 120);
    gateway = adopt(join(data, "gateway", "gateway.pid"));
  };
  const halt = async (): Promise<void> => {
    await hub?.end();
    if (gateway !== undefined) {
      kill(gateway, "SIGKILL");
      forget(gateway);
    }
  };
  const members: Member[] = [];
  const stop = async (): Promise<void> => {
    await halt();
    for (const member of members) await member.stop();
    rmSync(data, { recursive: true, force: true });
  };
  try {
    await resume();
    const address = addressIn(join(data, "clusters", "hub", "kubeconfig"));
    members.push(...(await startMembers(memberNames)));
    await join_(address, members);
    const pids = (): number[] => [hub?.child.pid ?? 0, ...(gateway === undefined ? [] : [gateway])];
    return { name: "argosy", address, members, pids, halt, resume, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function addressIn(kubeconfig: string): Address {
  const { clusters, users } = load(readFileSync(kubeconfig, "utf8")) as {
    readonly clusters: readonly {
      readonly cluster: { readonly server: string; readonly "certificate-authority-data": string };
    }[];
    readonly users: readonly { readonly user: { readonly token: string } }[];
  };
  const [cluster] = clusters;
  const [user] = users;
  if (cluster === undefined || user === undefined) throw new Error(`${kubeconfig} names no cluster`);
  const caPem = Buffer.from(cluster.cluster["certificate-authority-data"], "base64").toString("utf8");
  return { port: Number(new URL(cluster.cluster.server).port), token: user.user.token, caPem };
}
