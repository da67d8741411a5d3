import type { MemberOptions } from "./platform.js";

/** One cluster that is to be brought up, with everything that is fixed about it. */
export interface ClusterPlan {
  readonly name: string;
  readonly role: "hub" | "member";
  /** 0 for the hub; a member's number for life. */
  readonly index: number;
  readonly nodes: readonly string[];
  readonly apiPort: number;
  readonly ingressPort: number;
  readonly serviceCidr: string;
  /** From which further Services get theirs. */
  readonly serviceOverflow: string;
  /** Below which models' host names stand, `cloud.argosy.localhost`. */
  readonly domain: string;
  /** Member: it fetches its Works itself. */
  readonly isPull?: boolean;
}

/** The ports that clusters and services prefer; stable over restarts. */
export const preferredPorts = { api: 6440, ingress: 8080, northbound: 5000, artifacts: 9000 } as const;

/** A member with its number for life. */
export interface NumberedMember extends MemberOptions {
  readonly index: number;
}

/**
 * A member keeps its number (and so its addresses) as long as the data directory lives, also while it is not wanted; new members get
 * numbers that nobody had.
 */
export function numberMembers(
  previous: readonly NumberedMember[],
  wanted: readonly MemberOptions[],
): { readonly wanted: readonly NumberedMember[]; readonly resting: readonly NumberedMember[] } {
  let last = Math.max(0, ...previous.map(({ index }) => index));
  return {
    wanted: wanted.map((member) => {
      const known = previous.find(({ name }) => name === member.name);
      if (known === undefined) {
        last += 1;
      }
      return { ...member, index: known?.index ?? last };
    }),
    resting: previous.filter(({ name }) => wanted.every((member) => member.name !== name)),
  };
}

/** How many data directories can have ranges of their own on one machine. */
const pieces = 32;

/**
 * Services of each cluster get addresses of their own: below 198.19.0.0/16 (RFC 2544) where pods have network namespaces, loopback
 * addresses where they share the machine's. `piece` keeps several data directories on one machine apart. 254 of them are soon given away; the others are 16,382 from
 * 242.0.0.0 on (RFC 1112, reserved: Linux takes them for addresses like any other, and nobody else has them), or 4,094 of 127.128.0.0/9.
 */
function serviceRanges(
  network: { readonly kind: "namespaces" | "loopback"; readonly piece: number },
  index: number,
): Pick<ClusterPlan, "serviceCidr" | "serviceOverflow"> {
  const piece = network.piece % pieces;
  if (network.kind === "namespaces") {
    const overflow = (piece * 256 + (index % 256)) * 64;
    return {
      serviceCidr: `198.19.${(piece * 8 + index) % 256}.0/24`,
      serviceOverflow: `${242 + Math.floor(overflow / 2 ** 16)}.${Math.floor(overflow / 256) % 256}.${overflow % 256}.0/18`,
    };
  }
  const overflow = (piece * 64 + (index % 64)) * 16;
  return {
    serviceCidr: `127.${96 + piece}.${index}.0/24`,
    serviceOverflow: `127.${128 + Math.floor(overflow / 256)}.${overflow % 256}.0/20`,
  };
}

/** Plans hub and members. */
export async function planClusters(
  members: readonly NumberedMember[],
  network: { readonly kind: "namespaces" | "loopback"; readonly piece: number },
  choosePort: (name: string, preferred: number) => Promise<number>,
): Promise<ClusterPlan[]> {
  const plans: ClusterPlan[] = [];
  const hub: NumberedMember = { name: "hub", nodes: 0, index: 0 };
  for (const member of [hub, ...members]) {
    const { name, index } = member;
    plans.push({
      name,
      role: index === 0 ? "hub" : "member",
      index,
      nodes: Array.from({ length: member.nodes }, (_, node) => (member.nodes === 1 ? name : `${name}-${node + 1}`)),
      apiPort: await choosePort(name, preferredPorts.api + index),
      ingressPort: await choosePort(index === 0 ? "ingress" : `ingress-${name}`, preferredPorts.ingress + index),
      ...serviceRanges(network, index),
      domain: `${name}.argosy.localhost`,
      ...(member.isPull === true ? { isPull: true } : {}),
    });
  }
  return plans;
}
