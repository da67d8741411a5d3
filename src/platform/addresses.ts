import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile } from "../kernel/files/index.js";
import { isObject } from "../kernel/schema/index.js";
import type { Layout } from "./layout.js";

/** One embedded cluster, for people and scripts. */
export interface ClusterAddress {
  readonly name: string;
  readonly role: "hub" | "member";
  readonly api: string;
  readonly nodes: readonly string[];
  /** Where its models are reached. */
  readonly ingress: string;
  /** Member: it fetches its Works itself. */
  readonly isPull?: boolean;
}

/** Every address of a running Argosy. */
export interface Addresses {
  readonly clusters: readonly ClusterAddress[];
  /** The head ingress. */
  readonly ingress: string;
  /** Tracking (MLflow REST) and the ledger. */
  readonly northbound: string;
  /** The same as pods of the members reach it. */
  readonly northboundFromPods: string;
  /** The artifact store (S3). */
  readonly artifacts: string;
  readonly kubeconfig: string;
  /** Certificate authority of northbound and artifacts. */
  readonly caFile: string;
}

const fileName = "addresses.json";

/** Leaves the addresses where `argosy status` finds them. */
export async function writeAddresses(layout: Layout, addresses: Addresses): Promise<void> {
  await replaceFile(join(layout.root, fileName), `${JSON.stringify(addresses, undefined, 2)}\n`);
}

/** The addresses of the last start; `undefined` when there was none. */
export async function readAddresses(layout: Layout): Promise<Addresses | undefined> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(join(layout.root, fileName), "utf8"));
  } catch {
    return undefined;
  }
  if (!isObject(value) || !Array.isArray(value["clusters"])) {
    return undefined;
  }
  const text = (field: unknown): string => (typeof field === "string" ? field : "");
  return {
    clusters: value["clusters"].filter(isObject).map((cluster) => ({
      name: text(cluster["name"]),
      role: cluster["role"] === "hub" ? "hub" : "member",
      api: text(cluster["api"]),
      nodes: Array.isArray(cluster["nodes"]) ? cluster["nodes"].filter((node) => typeof node === "string") : [],
      ingress: text(cluster["ingress"]),
      ...(cluster["isPull"] === true ? { isPull: true } : {}),
    })),
    ingress: text(value["ingress"]),
    northbound: text(value["northbound"]),
    northboundFromPods: text(value["northboundFromPods"]),
    artifacts: text(value["artifacts"]),
    kubeconfig: text(value["kubeconfig"]),
    caFile: text(value["caFile"]),
  };
}
