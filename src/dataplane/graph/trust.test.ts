import { writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { systemClock, systemRandom } from "../../kernel/clock/index.js";
import { createAuthority } from "../../kernel/identity/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { temporaryFolder } from "../../testing/folder.js";
import { runInferenceRouterProgram } from "./program.js";
import { readGraph } from "./read.js";
import { runRouter } from "./router.js";
import { bundleFault, trustWith } from "./trust.js";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  vi.restoreAllMocks();
});

const authorityOf = (name: string) => createAuthority({ name, clock: systemClock });

/** A service over https; its certificate is for 127.0.0.1. */
async function serve() {
  const authority = await authorityOf("theirs");
  const { certPem: cert, keyPem: key } = await authority.issueServer(["127.0.0.1"]);
  const server = createServer({ cert, key }, (request, response) => request.pipe(response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const address = server.address();
  const serviceUrl = `https://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}/`;
  return { caPem: authority.caPem, serviceUrl };
}

async function ask(serviceUrl: string, bundle: string | undefined): Promise<[status: number, body: string]> {
  const router = await runRouter({
    graph: readGraph({ nodes: { root: { routerType: "Sequence", steps: [{ serviceUrl }, { serviceUrl }] } } }),
    ...{ name: "t/g", host: "127.0.0.1", port: 0, clock: systemClock, log: silentLogger },
    ...{ drainDelayMs: 0, drainTimeoutMs: 0 },
    ...(bundle === undefined ? {} : { trust: trustWith(bundle, "bundle") }),
  });
  closers.push(() => router.close());
  const answer = await fetch(`http://127.0.0.1:${router.port}/`, { method: "POST", body: '{"a":1}' });
  return [answer.status, await answer.text()];
}

test("a service over https is asked where its authority is trusted, and no other", async () => {
  const { caPem, serviceUrl } = await serve();
  const other = (await authorityOf("other")).caPem;
  expect(await ask(serviceUrl, `# two\n${other}\n${caPem}`)).toEqual([200, '{"a":1}']);
  for (const bundle of [undefined, other]) {
    const [status, body] = await ask(serviceUrl, bundle);
    expect([status, JSON.parse(body).cause]).toEqual([500, expect.stringMatching(/certificate.*; name its authority/)]);
  }
  // The certificate is for an address, and for no name.
  const [status, body] = await ask(serviceUrl.replace("127.0.0.1", "localhost"), caPem);
  expect([status, JSON.parse(body).cause]).toEqual([500, expect.stringMatching(/localhost.*altnames/)]);
});

test("a bundle is PEM, and what cannot be read of it is counted", async () => {
  const { caPem } = await authorityOf("a");
  const torn = caPem.replace(/\n[A-Za-z0-9+/=]+\n-----END/, "\n-----END");
  expect([bundleFault(caPem), bundleFault("x")]).toEqual([undefined, "holds no certificate in PEM"]);
  expect(bundleFault(`${caPem}${torn}`)).toBe("certificate 2 of 2 in it cannot be read");
  expect(bundleFault("x".repeat(2 ** 21))).toContain("longer than");
  expect(() => trustWith("x", "/etc/bundle")).toThrow("/etc/bundle holds no certificate");
});

test("the program reads a bundle before it begins, and ends where it cannot", async () => {
  const file = join(temporaryFolder("trust"), "ca.crt");
  const words: string[] = [];
  for (const stream of [process.stderr, process.stdout])
    vi.spyOn(stream, "write").mockImplementation((text) => words.push(String(text)) > 0);
  const graph = JSON.stringify({ nodes: { root: { routerType: "Sequence", steps: [{ serviceUrl: "https://a/" }] } } });
  const run = () =>
    runInferenceRouterProgram({
      args: ["--graph-json", graph, "--http=0", `--ca-bundle=${file}`],
      ...{ env: {}, clock: systemClock, random: systemRandom, log: silentLogger, stopped: Promise.resolve() },
    });
  expect(await run()).toBe(2);
  await writeFile(file, "no certificate");
  expect(await run()).toBe(2);
  await writeFile(file, (await authorityOf("a")).caPem);
  expect(await run()).toBe(0);
  expect(words).toEqual([
    expect.stringMatching(/^inference-router: --ca-bundle: ENOENT/),
    expect.stringContaining(`${file} holds no certificate in PEM`),
    expect.stringMatching(/^listening on http/),
  ]);
});
