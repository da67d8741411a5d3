import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { freePort } from "../../../testing/ports.js";
import { unless } from "../../../testing/unless.js";
import { eventually } from "../fixture.js";
import { planHead, routeOf } from "../head-weights.js";
import type { HeadIngress } from "../kinds.js";
import { renderFor } from "./applier.js";
import { readText, reportOf } from "./proxy-report.js";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const lacking = (program: string): string | undefined =>
  spawnSync(program, ["-v"]).error === undefined ? undefined : `${program} is not installed`;

async function model(
  server: Server = createServer((_incoming, response) => response.end("yes")),
): Promise<{ readonly port: number; stop(): Promise<void> }> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const bound = server.address();
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  closing.push(stop);
  return { port: typeof bound === "object" ? (bound?.port ?? 0) : 0, stop };
}

const headWith = (spec: HeadIngress["spec"]): HeadIngress => ({
  apiVersion: "argosy.dev/v1alpha1",
  kind: "HeadIngress",
  metadata: { name: "digits", namespace: "demo", uid: "u", resourceVersion: "1", creationTimestamp: "" },
  spec,
});

/** A program with what is rendered for it; how it is told of. */
async function start(program: "nginx" | "haproxy", ports: readonly number[]) {
  const [listen, report] = [await freePort(), await freePort()];
  const head = headWith({
    class: program,
    path: "/m/",
    backends: ports.map((port, index) => ({ name: `b${index}`, url: `http://127.0.0.1:${port}`, weight: index + 1 })),
    rendering: {
      listen: `127.0.0.1:${listen}`,
      report: { listen: `127.0.0.1:${report}`, url: `http://127.0.0.1:${report}/` },
    },
    // The backends are this process, which other work may hold up for seconds.
    health: { path: "/", intervalMs: 100, timeoutMs: 10_000 },
  });
  const plan = planHead(head, undefined, new Map());
  const route = routeOf(head, plan, "head");
  const { objects } = renderFor(program, { head, route }, [{ head, route }]);
  const text = Object.values((objects[0]?.["data"] ?? {}) as Record<string, string>)[0] ?? "";
  const directory = mkdtempSync(join(tmpdir(), "argosy-report-"));
  closing.push(() => rmSync(directory, { recursive: true, force: true }));
  chmodSync(directory, 0o755);
  const file = join(directory, "proxy.conf");
  writeFileSync(file, text.replaceAll("/tmp", directory));
  const args = program === "nginx" ? ["-g", "daemon off;", "-c", file] : ["-db", "-f", file];
  const child: ChildProcess = spawn(program, args, { stdio: ["ignore", "ignore", "ignore"] });
  closing.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill(program === "nginx" ? "SIGTERM" : "SIGKILL");
    await gone;
  });
  const ask = () => reportOf(program, head, { routeId: route.id, plan: plan.backends, objects: [], read: readText });
  return { ask, get: () => readText(`http://127.0.0.1:${listen}/m/x`), head };
}

unless(lacking("haproxy"))("haproxy tells of each backend: who is up, who gets what, how many requests", async () => {
  const models = [await model(), await model()];
  const { ask, get } = await start(
    "haproxy",
    models.map(({ port }) => port),
  );
  const shares = (report: Awaited<ReturnType<typeof ask>>): unknown =>
    [...(report.backends ?? [])].map(([name, { share, healthy }]) => [name, Math.round(share * 100), healthy]);
  await eventually(
    ask,
    (report) => JSON.stringify(shares(report)) === '[["b0",33,true],["b1",67,true]]',
    "both are up",
  );
  for (let index = 0; index < 6; index++) expect(await get()).toBe("yes");
  const counted = await ask();
  expect(counted.condition).toMatchObject({
    type: "Observed",
    status: "True",
    message: "haproxy tells of each backend",
  });
  expect([...(counted.backends?.values() ?? [])].map(({ requests }) => requests)).toEqual([2, 4]);

  await models[1]?.stop();
  const down = await eventually(
    ask,
    (report) => JSON.stringify(shares(report)) === '[["b0",100,true],["b1",0,false]]',
    "one is down",
  );
  expect(down.backends?.get("b1")?.reason).toMatch(/^haproxy says DOWN/);
  expect(down.condition.message).toBe("haproxy tells of each backend; not up: b1");
});

unless(lacking("haproxy"))(
  "haproxy waits for a check as long as it is told, however short the interval is",
  async () => {
    let answered = 0;
    const slow = createServer((incoming, response) => {
      const answer = (): void => {
        if (incoming.headers["x-argosy-check"] !== undefined) answered++;
        response.end("yes");
      };
      setTimeout(answer, incoming.headers["x-argosy-check"] === undefined ? 0 : 300);
    });
    const { ask, get } = await start("haproxy", [(await model(slow)).port]);
    await eventually(
      async () => answered,
      (count) => count >= 4,
      "it was checked",
    );

    expect((await ask()).backends?.get("b0")?.healthy).toBe(true);
    expect(await get()).toBe("yes");
  },
);

unless(lacking("nginx"))("nginx tells sums only, and that is said", async () => {
  const { port } = await model();
  const { ask, get } = await start("nginx", [port]);
  await eventually(ask, ({ condition }) => condition.reason === "TotalsOnly", "it tells");
  await get();
  const { condition, backends } = await ask();
  expect(condition).toMatchObject({ type: "Observed", status: "Unknown" });
  expect(condition.message).toMatch(
    /^nginx runs: \d+ connections, \d+ requests of all HeadIngresses since it began; which backends answer/,
  );
  expect(backends).toBeUndefined();
});

const seenOf = (objects: never[] | object[], answer: () => Promise<string> = async () => "") => ({
  routeId: "headingress/demo/digits",
  plan: [],
  objects: objects as never[],
  read: answer,
});

test("what is not told is said: nobody asked, nobody answers, something else answers, a route that is not there yet", async () => {
  const plain = headWith({ class: "haproxy" });
  const asked = headWith({ rendering: { report: { listen: "*:1", url: "http://127.0.0.1:1" } } });
  const reasons = [
    await reportOf("haproxy", plain, seenOf([])),
    await reportOf(
      "haproxy",
      asked,
      seenOf([], () => Promise.reject(new Error("ECONNREFUSED"))),
    ),
    await reportOf(
      "nginx",
      asked,
      seenOf([], async () => "<html>"),
    ),
    await reportOf(
      "haproxy",
      asked,
      seenOf([], async () => "# pxname,svname,status\nother,x,UP\n"),
    ),
    await reportOf("istio", plain, seenOf([{ kind: "VirtualService", metadata: { name: "digits" } }])),
  ].map(({ condition }) => `${condition.status} ${condition.reason}`);
  expect(reasons).toEqual([
    "Unknown NotAsked",
    "Unknown NotAnswering",
    "Unknown NotUnderstood",
    "Unknown NotLoaded",
    "Unknown NotTold",
  ]);
});

test("what a Gateway says of an HTTPRoute is told; one that refuses it does not carry it", async () => {
  const route = (status: string, reason: string) => ({
    kind: "HTTPRoute",
    metadata: { name: "digits" },
    status: {
      parents: [{ parentRef: { name: "public" }, conditions: [{ type: "Accepted", status, reason, message: "" }] }],
    },
  });
  const good = await reportOf("gateway-api", headWith({}), seenOf([route("True", "Accepted")]));
  expect(good.condition).toMatchObject({ status: "True", reason: "Accepted" });
  expect(good.refusal).toBeUndefined();
  const bad = await reportOf("gateway-api", headWith({}), seenOf([route("False", "NotAllowedByListeners")]));
  expect(bad.condition).toMatchObject({ status: "False", reason: "Refused" });
  expect(bad.refusal).toBe("HTTPRoute digits: Gateway public says Accepted False (NotAllowedByListeners)");
});
