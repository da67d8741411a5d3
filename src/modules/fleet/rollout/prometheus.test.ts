import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect } from "vitest";
import type { ApiClient } from "../../../kernel/client/index.js";
import { systemClock } from "../../../kernel/clock/index.js";
import { unless } from "../../../testing/unless.js";
import { eventually } from "../fixture.js";
import { GateKeeper, type Watch } from "./gate-keeper.js";
import { askPrometheus } from "./prometheus.js";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const isThere = spawnSync("prometheus", ["--version"]).status === 0;

async function freePort(page = ""): Promise<{ port: number; close: () => Promise<void> }> {
  const server = createServer((_request, response) => response.setHeader("content-type", "text/plain").end(page));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const bound = server.address();
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { port: typeof bound === "object" && bound !== null ? bound.port : 0, close };
}

/** A real Prometheus that scrapes one page ten times a second; its address. */
async function startPrometheus(page: string): Promise<string> {
  const target = await freePort(page);
  closing.push(target.close);
  const own = await freePort();
  await own.close();
  const directory = await mkdtemp(join(tmpdir(), "argosy-prometheus-"));
  closing.push(() => rm(directory, { recursive: true, force: true }));
  const config = {
    scrape_configs: [
      {
        job_name: "page",
        scrape_interval: "100ms",
        scrape_timeout: "100ms",
        static_configs: [{ targets: [`127.0.0.1:${target.port}`] }],
      },
    ],
  };
  await writeFile(join(directory, "prometheus.yml"), JSON.stringify(config));
  const child: ChildProcess = spawn(
    "prometheus",
    [
      `--config.file=${join(directory, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(directory, "data")}`,
      `--web.listen-address=127.0.0.1:${own.port}`,
    ],
    { stdio: "ignore" },
  );
  closing.push(
    () =>
      new Promise((resolve) => {
        child.once("exit", resolve);
        child.kill("SIGKILL");
      }),
  );
  return `http://127.0.0.1:${own.port}`;
}

unless(isThere ? undefined : "there is no program `prometheus` here (Debian: apt-get install prometheus)")(
  "gates ask a real Prometheus, for each cluster by its name",
  async () => {
    const address = await startPrometheus('errors{cluster="cloud"} 1\nerrors{cluster="edge"} 30\n');
    const keeper = new GateKeeper({ gateway: () => undefined, members: () => undefined, prometheus: askPrometheus });
    const hub = { client: {} as ApiClient, clock: systemClock, signal: new AbortController().signal };
    const query = 'errors{cluster="$cluster"} + on() group_left() vector(0)';
    const gate = (name: string, text: string) =>
      ({ name, source: "Prometheus", max: 5, prometheus: { address, query: text } }) as const;
    const watch: Watch = {
      mark: "one",
      namespace: "demo",
      name: "digits",
      clusters: ["cloud", "edge", "far-edge"],
      gates: [gate("vector", query), gate("scalar", 'scalar(errors{cluster="$cluster"})'), gate("bad", "errors{")],
      heads: [],
      servicesIn: () => [],
      triedIn: () => undefined,
      isPull: () => false,
    };

    const reports = await eventually(
      () => keeper.look("demo/careful", watch, hub),
      (all) => all.some(({ verdict }) => verdict === "Passed"),
      "it has scraped",
    );

    expect(
      reports.map(({ name, cluster, verdict, value }) => `${name} ${cluster} ${verdict} ${value ?? ""}`.trim()),
    ).toEqual([
      "vector cloud Passed 1",
      "vector edge Failed 30",
      "vector far-edge Waiting",
      "scalar cloud Passed 1",
      "scalar edge Failed 30",
      "scalar far-edge Waiting",
      "bad cloud Waiting",
      "bad edge Waiting",
      "bad far-edge Waiting",
    ]);
    expect(reports.at(-1)?.message).toContain("refused the query");
  },
  60_000,
);
