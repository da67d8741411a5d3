import { createServer } from "node:net";
import { ArgosyError } from "../kernel/errors/index.js";

/** Chooses ports: the one from last time, else the preferred one, else the next free one. */
export interface PortChooser {
  /** `moved` is told when a stable port was taken by somebody else. */
  choose(name: string, preferred: number): Promise<number>;
  /** All choices so far, to be kept for the next start. */
  chosen(): Readonly<Record<string, number>>;
}

/** A chooser that starts from the choices of last time. */
export function portChooser(
  previous: Readonly<Record<string, number>>,
  moved: (name: string, wanted: number, got: number) => void,
  /** Held by a part of this Argosy that still runs (an adopted gateway): as good as free. */
  ours: ReadonlySet<number> = new Set(),
): PortChooser {
  const chosen: Record<string, number> = {};
  const taken = new Set<number>();
  return {
    choose: async (name, preferred) => {
      const wanted = previous[name] ?? preferred;
      const reserved = new Set(Object.entries(previous).flatMap(([other, port]) => (other === name ? [] : [port])));
      for (let port = wanted; port <= lastOf(wanted); port += 1) {
        if (!taken.has(port) && !(port !== wanted && reserved.has(port)) && (ours.has(port) || (await isFree(port)))) {
          taken.add(port);
          chosen[name] = port;
          if (port !== wanted) {
            moved(name, wanted, port);
          }
          return port;
        }
      }
      throw new ArgosyError(
        "NoFreePort",
        `no free port for ${name} between ${wanted} and ${lastOf(wanted)} on 127.0.0.1`,
      );
    },
    chosen: () => ({ ...previous, ...chosen }),
  };
}

function lastOf(wanted: number): number {
  return Math.min(wanted + 199, 65535);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen({ host: "127.0.0.1", port, exclusive: true }, () => probe.close(() => resolve(true)));
  });
}
