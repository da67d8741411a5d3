import { createServer, type Server } from "node:net";
import { ArgosyError } from "../kernel/errors/index.js";

/** Chooses ports: the one from last time, else the preferred one, else the next free one. */
export interface PortChooser {
  /**
   * `moved` is told when a stable port was taken by somebody else. The port is held, so that no other start on this machine takes it
   * meanwhile, until it is let go.
   */
  choose(name: string, preferred: number): Promise<number>;
  /**
   * Starts a server on the port chosen for `name` (or chosen now). Between letting the port go and listening somebody else may take it: then
   * another one is chosen and the start is made again.
   */
  listen<T>(name: string, preferred: number, start: (port: number) => Promise<T>): Promise<T>;
  /** Frees a chosen port for its user, right before it listens there; without a port: all. */
  letGo(port?: number): Promise<void>;
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
  const held = new Map<number, Server>();
  const take = async (port: number): Promise<boolean> => {
    const holder = ours.has(port) ? undefined : await hold(port);
    if (holder !== undefined) {
      held.set(port, holder);
    }
    return holder !== undefined || ours.has(port);
  };
  const chooser: PortChooser = {
    letGo: async (port) => {
      for (const [number, holder] of [...held].filter(([number]) => port === undefined || number === port)) {
        held.delete(number);
        await new Promise((resolve) => holder.close(resolve));
      }
    },
    listen: async (name, preferred, start) => {
      let port = chosen[name] ?? (await chooser.choose(name, preferred));
      for (let attempt = 1; ; attempt += 1) {
        await chooser.letGo(port);
        try {
          return await start(port);
        } catch (error) {
          if (!(error instanceof ArgosyError && error.code === "PortInUse") || attempt === maxStarts) {
            throw error;
          }
          port = await chooser.choose(name, port);
        }
      }
    },
    choose: async (name, preferred) => {
      const wanted = previous[name] ?? preferred;
      const reserved = new Set(Object.entries(previous).flatMap(([other, port]) => (other === name ? [] : [port])));
      for (let port = wanted; port <= lastOf(wanted); port += 1) {
        if (!taken.has(port) && !(port !== wanted && reserved.has(port)) && (await take(port))) {
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
  return chooser;
}

/** How often a server is started on another port before it is given up. */
const maxStarts = 10;

function lastOf(wanted: number): number {
  return Math.min(wanted + 199, 65535);
}

/** Listens there, so that nobody else can; `undefined` when somebody does. */
function hold(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const holder = createServer((socket) => socket.destroy()).unref();
    holder.once("error", () => resolve(undefined));
    holder.listen({ host: "127.0.0.1", port, exclusive: true }, () => resolve(holder));
  });
}

/** A port of an address that nobody has now. Throws `CannotListen`. */
export function anyPort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const holder = createServer();
    holder.once("error", ({ message }) =>
      reject(new ArgosyError("CannotListen", `cannot listen on ${host}: ${message}`)),
    );
    holder.listen({ host, port: 0 }, () => {
      const bound = holder.address();
      holder.close(() => resolve(typeof bound === "object" ? (bound?.port ?? 0) : 0));
    });
  });
}
