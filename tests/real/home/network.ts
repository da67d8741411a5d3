import { execFileSync, spawn } from "node:child_process";
import { connect, createServer, type Server } from "node:net";

/** A bridge of this machine on which the nodes are; nothing leads out of it. */
export interface Network {
  readonly bridge: string;
  /** This machine's address there. */
  readonly gateway: string;
  nextNode(): { readonly number: number; readonly address: string; readonly pods: string };
  /** Passes connections to the gateway's address on to a port of the loopback. Returns where. */
  relay(port: number): Promise<string>;
  close(): Promise<void>;
}

const ip = (...words: string[]): string =>
  execFileSync("ip", words, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

/** Whose bridge it is. */
const MARK = "argosy-test-";

/** Takes away what runs left that were killed. */
function sweep(): void {
  const links = JSON.parse(ip("-j", "link", "show", "type", "bridge")) as { ifname?: string; ifalias?: string }[];
  for (const { ifname, ifalias = "" } of links) {
    if (ifname === undefined || !ifalias.startsWith(MARK)) continue;
    try {
      process.kill(Number(ifalias.slice(MARK.length)), 0);
    } catch {
      ip("link", "del", ifname);
    }
  }
}

/** Takes the bridge away when this process is gone, however it ended: its end of the pipe is closed then. */
function removeAfterwards(bridge: string): void {
  const words = ["-c", 'cat; ip link del "$0"', bridge];
  const child = spawn("sh", words, { detached: true, stdio: ["pipe", "ignore", "ignore"] });
  child.unref();
  if ("unref" in child.stdin && typeof child.stdin.unref === "function") child.stdin.unref();
}

/** Makes the bridge, with the first of some private networks that this machine has no route to. */
export function makeNetwork(): Network {
  sweep();
  const routes = ip("route");
  // A node that outlived its run still has its end of a link.
  const links = ip("-o", "link");
  const isFree = (each: number): boolean => !routes.includes(`10.${each}.`) && !links.includes(` argr${each}`);
  const second = Array.from({ length: 20 }, (_, at) => 210 + at).find(isFree);
  if (second === undefined) throw new Error("10.210 to 10.229 are all in use on this machine");
  const net = `10.${second}`;
  const bridge = `argr${second}`;
  const gateway = `${net}.0.1`;
  ip("link", "add", bridge, "type", "bridge");
  ip("link", "set", bridge, "alias", `${MARK}${process.pid}`);
  removeAfterwards(bridge);
  ip("addr", "add", `${gateway}/24`, "dev", bridge);
  ip("link", "set", bridge, "up");
  const servers: Server[] = [];
  let nodes = 0;
  return {
    bridge,
    gateway,
    nextNode() {
      nodes += 1;
      return { number: nodes, address: `${net}.0.${nodes + 1}`, pods: `${net}.${nodes}.0/24` };
    },
    async relay(port) {
      const server = createServer((incoming) => {
        const outgoing = connect(port, "127.0.0.1");
        incoming.pipe(outgoing).pipe(incoming);
        for (const [one, other] of [
          [incoming, outgoing],
          [outgoing, incoming],
        ] as const) {
          one.on("error", () => other.destroy());
          one.on("close", () => other.destroy());
        }
      });
      servers.push(server);
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(port, gateway, resolve);
      });
      return `https://${gateway}:${port}`;
    },
    async close() {
      for (const server of servers) server.close();
      ip("link", "del", bridge);
    },
  };
}
