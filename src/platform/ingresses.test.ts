import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { gatewayDriver, runGateway } from "../dataplane/gateway/index.js";
import { systemClock, systemRandom } from "../kernel/clock/index.js";
import { silentLogger } from "../kernel/log/index.js";
import { openIngresses } from "./ingresses.js";
import { planClusters } from "./plan.js";
import { portChooser } from "./ports.js";

const grab = (port: number): Promise<Server> =>
  new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.end("not the gateway"));
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server));
  });

test("a port that another program takes between choice and bind: the ingress steps aside, says so, and is there", async () => {
  const directory = mkdtempSync(join(tmpdir(), "argosy-ingress-"));
  const clock = systemClock;
  const gateway = await runGateway({ directory, clock, random: systemRandom, log: silentLogger });
  const driver = gatewayDriver({ directory, clock, log: silentLogger });
  await driver.start();
  const moves: string[] = [];
  const base = 30_000 + (process.pid % 200) * 100;
  const ports = portChooser({}, (name, wanted, got) => moves.push(`${name} ${wanted} ${got}`));
  const plans = await planClusters(
    [{ name: "edge", nodes: 1, index: 1 }],
    { kind: "loopback", piece: 0 },
    (name, preferred) => ports.choose(name, base + (preferred % 1000)),
  );
  const [hub, edge] = plans;
  // As if somebody were quicker: freed by the chooser and taken at once, before the gateway binds it.
  let squatter: Server | undefined;
  const overtaken = {
    ...ports,
    listen: <T>(name: string, preferred: number, start: (port: number) => Promise<T>) =>
      ports.listen(name, preferred, async (port) => {
        if (name === "ingress-edge") squatter ??= await grab(port);
        return start(port);
      }),
  };
  const opened = await openIngresses(plans, { gateway: driver, ports: overtaken, log: silentLogger });
  const { listeners } = await driver.observe();
  const [, moved] = opened;
  squatter?.close();
  await driver.close();
  await gateway.close(0);
  await ports.letGo();
  rmSync(directory, { recursive: true, force: true });

  expect(opened[0]?.ingressPort).toBe(hub?.ingressPort);
  expect(moved?.ingressPort).not.toBe(edge?.ingressPort);
  expect(listeners.map(({ name, address, listening }) => [name, address, listening])).toEqual([
    ["head", `127.0.0.1:${hub?.ingressPort}`, true],
    ["ingress-edge", `127.0.0.1:${moved?.ingressPort}`, true],
  ]);
  expect(moves).toContain(`ingress-edge ${edge?.ingressPort} ${moved?.ingressPort}`);
  expect(ports.chosen()["ingress-edge"]).toBe(moved?.ingressPort);
});
