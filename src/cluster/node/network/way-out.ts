/** How pods of a bridge reach other machines: with this machine's address, where it has a tool for that. */
import { existsSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { findProgram, runCommand } from "../commands.js";

/** All addresses of pods and Services, of every data directory: between them addresses stay what they are. */
const ownAddresses = "198.18.0.0/15";

/** A bridge and its part of the pods' addresses. */
export interface BridgeRange {
  readonly bridge: string;
  readonly subnet: string;
}

const tableOf = (bridge: string): string => bridge.replace("-", "_");
const isOurs = (bridge: string): boolean => /^argosy-[0-9a-f]{6}$/.test(bridge);
const isThere = (bridge: string): boolean => existsSync(`/sys/class/net/${bridge}`);

/** Lets pods out. Returns why they are not, where the machine refuses. */
export async function letOut({ bridge, subnet }: BridgeRange): Promise<string | undefined> {
  const nft = findProgram("nft");
  const iptables = findProgram("iptables");
  if (nft === undefined && iptables === undefined) return undefined;
  const file = "/proc/sys/net/ipv4/ip_forward";
  if (readFileSync(file, "utf8").trim() !== "1") await writeFile(file, "1").catch(() => undefined);
  if (nft !== undefined) {
    const result = await runCommand(nft, ["-f", "-"], nftRules({ bridge, subnet }));
    return result.code === 0 ? undefined : result.stderr;
  }
  const rule = ["POSTROUTING", "-s", subnet, "!", "-d", ownAddresses, "!", "-o", bridge, "-j", "MASQUERADE"];
  const present = await runCommand(iptables ?? "", ["-w", "-t", "nat", "-C", ...rule]);
  const result = present.code === 0 ? present : await runCommand(iptables ?? "", ["-w", "-t", "nat", "-A", ...rule]);
  return result.code === 0 ? undefined : result.stderr;
}

/**
 * Takes away the rules of bridges that are gone. One that stayed behind would give pods of another bridge with the same addresses the machine's
 * address towards each other, and with it the machine's ways in.
 */
export async function removeStaleRules(): Promise<void> {
  const nft = findProgram("nft");
  if (nft !== undefined) {
    const { stdout } = await runCommand(nft, ["list", "tables", "ip"]);
    const stale = [...stdout.matchAll(/^table ip argosy_([0-9a-f]{6})$/gm)].map(([, hash]) => `argosy-${hash}`);
    const lines = stale.filter((bridge) => !isThere(bridge)).map((bridge) => `delete table ip ${tableOf(bridge)}\n`);
    for (const line of lines) await runCommand(nft, ["-f", "-"], line);
  }
  const iptables = findProgram("iptables");
  if (iptables === undefined) return;
  const { stdout, code } = await runCommand(iptables, ["-w", "-t", "nat", "-S", "POSTROUTING"]);
  if (code !== 0) return;
  for (const line of stdout.split("\n")) {
    const bridge = /^-A POSTROUTING .*! -o (\S+) -j MASQUERADE$/.exec(line)?.[1];
    if (bridge === undefined || !isOurs(bridge) || isThere(bridge)) continue;
    await runCommand(iptables, ["-w", "-t", "nat", ...line.replace("-A", "-D").split(" ")]);
  }
}

function nftRules({ bridge, subnet }: BridgeRange): string {
  const name = tableOf(bridge);
  return [
    `table ip ${name} {}`,
    `delete table ip ${name}`,
    `table ip ${name} {`,
    "  chain out {",
    "    type nat hook postrouting priority srcnat; policy accept;",
    `    ip saddr ${subnet} ip daddr != ${ownAddresses} oifname != "${bridge}" masquerade`,
    "  }",
    "}",
    "",
  ].join("\n");
}
