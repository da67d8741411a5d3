/**
 * The embedded API server beside kube-apiserver with etcd (where `npm run test:real` has built them, or in ARGOSY_REAL_BIN):
 * durable creates, lists, watch fan-out, memory, gets beside long lists, start, rest. Servers are processes of their own with
 * a directory on the disk; the client (this process) speaks HTTP/1.1 over TLS with a bearer token that RBAC lets through. A
 * create is a ConfigMap of about 1 KiB; its 201 comes after the fsync. Rounds of the servers take turns; figures are medians.
 * Run: `node dist/bench/apiserver.js [--seconds 3] [--rounds 3] [--only creates,lists,watch,scale,idle] [--servers NAMES]`.
 */
import { cpus } from "node:os";
import { creates, fanOut, fill, getsBesideLists, idle, lists, makeNamespace, megabytes } from "./apiserver/loads.js";
import { peerPrograms, type Running, serve, startServer } from "./apiserver/servers.js";

type Sample = Readonly<Record<string, number>>;

async function main(): Promise<void> {
  if (process.argv.includes("--serve"))
    return serve(text("--serve", ""), text("--journal", "disk"), number("--clusters", 1));
  const peer = "kube-apiserver and etcd";
  const names = text("--servers", `argosy,argosy in memory,${peer}`).split(",");
  const chosen = names.filter((name) => name !== peer || peerPrograms() !== undefined);
  const servers = new Map<string, Running>();
  for (const name of chosen) servers.set(name, await startServer(name));
  const results: Record<string, unknown> = {};
  try {
    for (const part of text("--only", "creates,lists,watch,scale,idle").split(",")) {
      process.stderr.write(`  ${part}\n`);
      results[part] = await parts[part]?.(servers);
    }
  } finally {
    for (const server of servers.values()) await server.stop();
  }
  const skipped =
    chosen.length === names.length ? {} : { skipped: `${peer}: not built; npm run test:real builds them` };
  print({ bench: "apiserver", node: process.version, cpus: cpus().length, ...skipped, ...results });
}

const parts: Readonly<Record<string, (servers: ReadonlyMap<string, Running>) => Promise<unknown>>> = {
  async creates(servers) {
    const seconds = number("--seconds", 3);
    for (const server of servers.values()) await creates(server, 16, 2); // warm-up
    const byClients: Record<string, unknown> = {};
    for (const clients of [1, 16, 64]) {
      byClients[`clients${clients}`] = await inTurns(servers, "perSecond", (server) =>
        creates(server, clients, seconds),
      );
    }
    return byClients;
  },
  async lists(servers) {
    for (const server of servers.values()) {
      await makeNamespace(server, "ten-thousand");
      await fill(server, "ten-thousand", 10_000);
    }
    return inTurns(servers, "cpuMs", (server) => lists(server, "ten-thousand", 5));
  },
  watch: (servers) => inTurns(servers, "cpuMicros", (server) => fanOut(server, 1000, 50)),
  async scale(servers) {
    const results: Record<string, unknown> = {};
    for (const name of servers.keys()) {
      if (name === "argosy in memory") continue;
      const own = await startServer(name);
      try {
        results[name] = await scale(own);
      } finally {
        await own.stop();
      }
    }
    return results;
  },
  async idle(servers) {
    const results: Record<string, unknown> = {};
    for (const name of servers.keys()) results[name] = await idleOf(name);
    const one = await idleOf("argosy");
    const four = await idleOf("four of argosy");
    results["argosy, each beside others in one process"] = {
      corePercent: Number((four.corePercent / 4).toFixed(2)),
      residentMb: Math.round((four.residentMb - one.residentMb) / 3),
    };
    return results;
  },
};

async function idleOf(name: string): Promise<Awaited<ReturnType<typeof idle>>> {
  const own = await startServer(name);
  await idle(own, 30); // what starting leaves behind
  const sample = await idle(own, 20);
  await own.stop();
  return sample;
}

/** Memory with many objects, gets beside lists of them, and the start with even more on the disk. */
async function scale(server: Running): Promise<unknown> {
  await makeNamespace(server, "many");
  await fill(server, "many", 10_000);
  const at10k = megabytes(server.residentBytes());
  await fill(server, "many", 40_000);
  const at50k = megabytes(server.residentBytes());
  const gets = await getsBesideLists(server, "many", 10);
  await fill(server, "many", 50_000);
  const startSeconds = Number((await server.restart()).toFixed(2));
  return {
    residentMbAt10k: at10k,
    residentMbAt50k: at50k,
    getsBesideListsOf50k: gets,
    startSecondsAt100k: startSeconds,
  };
}

/** Rounds of all servers in turns; of each server the round that is in the middle by one figure. */
async function inTurns(
  servers: ReadonlyMap<string, Running>,
  figure: string,
  measure: (server: Running) => Promise<Sample>,
): Promise<Record<string, Sample | undefined>> {
  const samples = new Map<string, Sample[]>([...servers.keys()].map((name) => [name, []]));
  for (let round = 0; round < number("--rounds", 3); round++) {
    for (const [name, server] of servers) samples.get(name)?.push(await measure(server));
  }
  return Object.fromEntries(
    [...samples].map(([name, list]) => {
      const sorted = list.toSorted((a, b) => (a[figure] ?? 0) - (b[figure] ?? 0));
      return [name, sorted[Math.floor(sorted.length / 2)]];
    }),
  );
}

function text(name: string, fallback: string): string {
  const index = process.argv.indexOf(name);
  return index < 0 ? fallback : (process.argv[index + 1] ?? fallback);
}

function number(name: string, fallback: number): number {
  return Number(text(name, String(fallback)));
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

await main();
