import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent, createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect } from "vitest";
import { gatewayDriver, runGateway } from "../../../dataplane/gateway/index.js";
import { systemClock, systemRandom } from "../../../kernel/clock/index.js";
import { ConfigMapKind, findCondition } from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { freePort } from "../../../testing/ports.js";
import { unless } from "../../../testing/unless.js";
import { eventually, startFleet } from "../fixture.js";
import { type HeadIngress, HeadIngressKind } from "../kinds.js";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const inDemo = { namespace: "demo" };

async function startModel(name: string): Promise<string> {
  const server = createServer((incoming, response) => {
    incoming.resume();
    response.end(name);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  closing.push(() => {
    server.close();
    server.closeAllConnections();
  });
  const bound = server.address();
  return `127.0.0.1:${typeof bound === "object" ? bound?.port : 0}`;
}

/** Clients that ask one after the other, wherever they are told to, until they are stopped; every answer counts. */
class Clients {
  port = 0;
  /** Between two requests of a client. */
  pauseMs = 0;
  good = 0;
  readonly bad: string[] = [];
  #isOver = false;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #running: Promise<void>[];

  constructor(count: number) {
    this.#running = Array.from({ length: count }, () => this.#run());
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      await systemClock.sleep(this.pauseMs);
      const { port } = this;
      if (port === 0) continue;
      const outcome = await this.#ask(port).catch(String);
      if (outcome === "200") this.good++;
      else this.bad.push(`${port}: ${outcome}`);
    }
  }

  #ask(port: number): Promise<string> {
    return new Promise((resolve, reject) => {
      const call = request({ host: "127.0.0.1", port, path: "/m/x", agent: this.#agent }, (response) => {
        response.resume();
        response.on("end", () => resolve(String(response.statusCode)));
        response.on("error", reject);
      });
      call.on("error", reject);
      call.end();
    });
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#running);
    this.#agent.destroy();
  }
}

unless(spawnSync("haproxy", ["-v"]).error === undefined ? undefined : "haproxy is not installed")(
  "auto: a high load is rendered for haproxy and stays there; clients move there and back, and no request is lost",
  async () => {
    const directory = mkdtempSync(join(tmpdir(), "argosy-auto-"));
    closing.push(() => rmSync(directory, { recursive: true, force: true }));
    const gateway = await runGateway({ directory, clock: systemClock, random: systemRandom, log: silentLogger });
    closing.push(() => gateway.close(0));
    const driver = gatewayDriver({ directory, clock: systemClock, log: silentLogger });
    await driver.start();
    closing.push(() => driver.close());
    const fleet = await startFleet([], { gateway: driver, fleet: { headLoad: { windowMs: 200, highRate: 100 } } });
    closing.push(() => fleet.close());
    const [one, two] = [await startModel("one"), await startModel("two")];
    const heads = fleet.hub.client.resource(HeadIngressKind);
    const settled = (isTrue: (head: HeadIngress) => boolean, what: string) =>
      eventually(() => heads.get("m", inDemo), isTrue, what);
    const traffic = (head: HeadIngress) => findCondition(head.status?.conditions, "HighTraffic");
    const rendered = () => fleet.hub.client.resource(ConfigMapKind).find("argosy-haproxy", inDemo);
    await heads.create(
      {
        apiVersion: "argosy.dev/v1alpha1",
        kind: "HeadIngress",
        metadata: { name: "m", ...inDemo },
        spec: {
          path: "/m/",
          backends: [
            { name: "one", url: "http://one.example", address: one, weight: 30 },
            { name: "two", url: "http://two.example", address: two, weight: 70 },
          ],
        },
      },
      inDemo,
    );
    await settled((head) => findCondition(head.status?.conditions, "Ready")?.status === "True", "it serves");
    const builtinPort = Number(gateway.state().listeners[0]?.address.split(":").at(-1));
    const clients = new Clients(4);
    closing.push(() => clients.stop());

    // Little load: nothing is rendered.
    clients.pauseMs = 200;
    clients.port = builtinPort;
    await settled((head) => (head.status?.requestsPerSecond ?? 0) > 0, "the load is measured");
    expect(traffic(await heads.get("m", inDemo))).toBeUndefined();
    expect(await rendered()).toBeUndefined();

    clients.pauseMs = 1;
    const high = await settled((head) => traffic(head)?.status === "True", "the load is high");
    expect(traffic(high)?.message).toContain("its configuration is in ConfigMap argosy-haproxy");
    expect(high.status?.rendered).toMatchObject({ class: "haproxy" });
    const config = (await rendered())?.data?.["haproxy.cfg"] ?? "";
    const port = await freePort();
    const file = join(directory, "haproxy.cfg");
    writeFileSync(file, config.replace("*:8080", `127.0.0.1:${port}`));
    const haproxy = spawn("haproxy", ["-db", "-f", file], { stdio: "ignore" });
    closing.push(() => haproxy.kill("SIGKILL"));
    await eventually(
      () =>
        new Promise<boolean>((resolve) => {
          request({ host: "127.0.0.1", port, path: "/m/x", agent: false }, (response) => {
            response.resume();
            resolve(response.statusCode === 200);
          })
            .on("error", () => resolve(false))
            .end();
        }),
      (is) => is,
      "haproxy answers",
    );

    // The clients move: here the load is gone, and the configuration must not go with it.
    clients.port = port;
    const quiet = await settled((head) => traffic(head)?.status === "False", "the load is elsewhere");
    expect(traffic(quiet)?.message).toContain("stays until spec.class is builtin");
    await heads.patch(
      "m",
      "merge",
      { spec: { backends: [{ name: "two", url: "http://two.example", address: two, weight: 1 }] } },
      inDemo,
    );
    await eventually(rendered, (map) => map?.data?.["haproxy.cfg"]?.includes(one) === false, "it follows changes");

    // And back.
    clients.port = builtinPort;
    await settled((head) => traffic(head)?.status === "True", "the load is here again");
    await heads.patch("m", "merge", { spec: { class: "builtin" } }, inDemo);
    await eventually(rendered, (map) => map === undefined, "it is taken back");
    await clients.stop();
    expect(clients.bad).toEqual([]);
    expect(clients.good).toBeGreaterThan(100);
  },
);
