/** The hubs that are measured, each with three members of its own. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { load } from "js-yaml";
import { packageRoot } from "../../src/kernel/assets/index.js";
import { type Built, type KarmadaOptions, startKarmada } from "../../tests/real/home/karmada.js";
import type { Address } from "../apiserver/connection.js";
import { folderWith } from "../apiserver/servers.js";
import { joinMembers, type Member, startMembers } from "./members.js";
import { adopt, programOf, type Started, start } from "./processes.js";

/** A hub that runs, with its members. */
export interface Hub {
  readonly name: string;
  readonly address: Address;
  readonly members: readonly Member[];
  /** Of everything that is the hub; of no member. */
  pids(): readonly number[];
  /** Ends hub and members. */
  stop(): Promise<void>;
}

/** A hub that can be ended and started again on its data, while the members go on. */
export interface RestartableHub extends Hub {
  halt(): Promise<void>;
  resume(): Promise<void>;
}

/** A Karmada, whose controllers can be stopped alone. */
export interface KarmadaHub extends Hub {
  controllerPids(): readonly number[];
}

export const memberNames = ["member1", "member2", "member3"] as const;

/** Argosy as a user starts it, without clusters of its own beside the hub. `profiles`: a folder for the CPU profiles of hub and members. */
export async function startArgosy(profiles = ""): Promise<RestartableHub> {
  const data = mkdtempSync(join(tmpdir(), "argosy-bench-hub-"));
  const profiling = profiles === "" ? [] : ["--cpu-prof", `--cpu-prof-dir=${profiles}`];
  const words = [...profiling, join(packageRoot(), "bin", "argosy.mjs"), "up", "--data", data, "--members", ""];
  let hub: Started | undefined;
  const gateway = adopt(join(data, "gateway", "gateway.pid"));
  const resume = async (): Promise<void> => {
    hub = start([...words, "--without", "scheduler,nodes,workloads"]);
    await hub.said("stderr", /^ready:/, 120);
  };
  const halt = async (): Promise<void> => {
    await hub?.end();
    gateway.end();
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
    members.push(...(await startMembers(memberNames, profiling)));
    await joinMembers(address, members);
    const pids = (): number[] => [hub?.child.pid ?? 0, ...[gateway.pid() ?? []].flat()];
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

/** Folders of the peer's programs (ARGOSY_REAL_BIN, or as `npm run test:real` builds them); `undefined` where some are missing. */
export function karmadaPrograms(): Built | undefined {
  const plane = folderWith(["etcd", "kube-apiserver", "kube-controller-manager"]);
  const home = folderWith([
    "karmada-aggregated-apiserver",
    "karmada-controller-manager",
    "karmada-scheduler",
    "karmada-webhook",
  ]);
  return plane === undefined || home === undefined ? undefined : { plane, home };
}

const ofQps = { "kube-api-qps": "1000", "kube-api-burst": "2000" };
const ofLimiter = { "rate-limiter-qps": "1000", "rate-limiter-bucket-size": "2000" };
/** Limits and numbers of workers that a hub under load has, instead of the defaults (40 requests a second, 5 workers). */
const tunedFlags: KarmadaOptions = {
  isDurable: true,
  api: { "max-requests-inflight": "2000", "max-mutating-requests-inflight": "1000" },
  webhook: ofQps,
  scheduler: { ...ofQps, ...ofLimiter },
  controllers: {
    ...ofQps,
    ...ofLimiter,
    "cluster-api-qps": "1000",
    "cluster-api-burst": "2000",
    "concurrent-work-syncs": "30",
    "concurrent-resourcebinding-syncs": "30",
    "concurrent-resource-template-syncs": "30",
    "concurrent-propagation-policy-syncs": "10",
    "concurrent-namespace-syncs": "5",
  },
};

/** A real Karmada with tuned flags: etcd, kube-apiserver, kube-controller-manager and the four programs of Karmada. */
export async function startKarmadaHub(programs: Built): Promise<KarmadaHub> {
  const karmada = await startKarmada(programs, tunedFlags);
  const members: Member[] = [];
  const stop = async (): Promise<void> => {
    await karmada.close();
    for (const member of members) await member.stop();
  };
  try {
    const { url, token, caPem } = karmada.stack;
    const address = { port: Number(new URL(url).port), token, caPem };
    members.push(...(await startMembers(memberNames)));
    await joinMembers(address, members);
    const pids = (): readonly number[] => karmada.pids();
    const isController = (pid: number): boolean => /^karmada-(controller-manager|scheduler)/.test(programOf(pid));
    return { name: "karmada", address, members, pids, controllerPids: () => pids().filter(isController), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
