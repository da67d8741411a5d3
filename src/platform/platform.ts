import { join } from "node:path";
import { gatewayPorts } from "../dataplane/gateway/index.js";
import { systemClock, systemRandom } from "../kernel/clock/index.js";
import { messageOf } from "../kernel/errors/index.js";
import { replaceFile } from "../kernel/files/index.js";
import { createLogger } from "../kernel/log/index.js";
import type { Surroundings } from "./access.js";
import { type Addresses, writeAddresses } from "./addresses.js";
import { Closers } from "./closers.js";
import { type Fleet, startFleet } from "./fleet.js";
import { renderKubeconfig } from "./kubeconfig.js";
import { type Layout, layoutOf, readState, takeDirectory, writeState } from "./layout.js";
import { rotatingLogFile } from "./log-file.js";
import type { PlatformPart } from "./parts.js";
import { numberMembers } from "./plan.js";
import { portChooser } from "./ports.js";
import type { NodeRuntime } from "./runtime.js";
import { readSecurity, type SecurityOptions } from "./security.js";

/** A member cluster to bring up. */
export interface MemberOptions {
  /** Lower-case, `cloud`. */
  readonly name: string;
  readonly nodes: number;
  /** It fetches its Works itself, with rights of its own in the hub. Default: the hub delivers. */
  readonly isPull?: boolean;
}

export interface PlatformOptions {
  readonly dataDir: string;
  readonly members: readonly MemberOptions[];
  /** Shows a step while it runs. */
  readonly step: <T>(
    title: string,
    work: (step: { detail(text: string): void }) => Promise<{ summary: string; value: T }>,
  ) => Promise<T>;
  /** Says something between steps: a port that moved, what a resumed directory holds. */
  readonly note: (text: string) => void;
  /** Parts that do not start; the API servers, their stores and the platform's own services always do. */
  readonly without?: ReadonlySet<PlatformPart>;
  /** What runs the containers of all nodes; absent: as at the last start, at first `process`. */
  readonly runtime?: NodeRuntime;
  readonly logLevel?: "error" | "warn" | "info" | "debug";
  /** Whose tokens count, what is noted, encrypted and limited. */
  readonly security?: SecurityOptions;
}

/** A running hub with its members. */
export interface Platform {
  readonly layout: Layout;
  readonly addresses: Addresses;
  /** Stops everything in this process; `keepPods` leaves pods and gateway running for the next start to adopt. */
  close(options: { readonly keepPods: boolean }): Promise<void>;
}

/** Brings everything up on a data directory, or resumes what is there. Throws `DirectoryInUseError`, `InputError`, or what failed. */
export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const layout = layoutOf(options.dataDir);
  const closers = new Closers();
  closers.add(await takeDirectory(layout));
  try {
    const surroundings = surroundingsOf(layout, options);
    const fleet = await bringUp(layout, options, surroundings, closers);
    return {
      layout,
      addresses: fleet.addresses,
      close: async ({ keepPods }) => {
        fleet.keepPods(keepPods);
        await closers.close();
      },
    };
  } catch (error) {
    // What ends badly because of it says less than what failed.
    await closers.close().catch((failure: unknown) => options.note(`stopping again: ${messageOf(failure)}`));
    throw error;
  }
}

function surroundingsOf(layout: Layout, options: PlatformOptions): Surroundings {
  const write = rotatingLogFile(join(layout.logs, "argosy.log"));
  return {
    clock: systemClock,
    random: systemRandom,
    log: createLogger({ clock: systemClock, level: options.logLevel ?? "info", write }),
  };
}

async function bringUp(
  layout: Layout,
  options: PlatformOptions,
  surroundings: Surroundings,
  closers: Closers,
): Promise<Fleet> {
  const security = await readSecurity(layout, options.security ?? {});
  const previous = await readState(layout);
  const { wanted: members, resting } = numberMembers(previous?.members ?? [], options.members);
  const ports = portChooser(
    previous?.ports ?? {},
    (name, wanted, got) => options.note(`port ${wanted} (${name}) is taken by another program: using ${got}`),
    await gatewayPorts(layout.gateway),
  );
  closers.add(() => ports.letGo());
  const fleet = await startFleet({
    layout,
    members,
    resting: resting.map(({ name }) => name),
    ports,
    surroundings,
    step: options.step,
    closers,
    without: options.without ?? new Set(),
    runtime: options.runtime,
    security,
  });
  await writeState(layout, {
    version: 1,
    members: [...members, ...resting].map(({ name, nodes, index, isPull }) => ({
      name,
      nodes,
      index,
      ...(isPull === true ? { isPull } : {}),
    })),
    ports: ports.chosen(),
  });
  await replaceFile(layout.kubeconfig, renderKubeconfig(fleet.kubeconfig), { isDurable: true });
  for (const cluster of fleet.kubeconfig)
    await replaceFile(layout.clusterKubeconfig(cluster.name), renderKubeconfig([cluster]), { isDurable: true });
  await writeAddresses(layout, fleet.addresses);
  return fleet;
}
