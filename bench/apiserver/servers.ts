/** The servers that are measured, each as processes of its own with a directory on the disk. */
import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { type ApiServer, createApiServer } from "../../src/cluster/apiserver/index.js";
import { systemClock, systemRandom } from "../../src/kernel/clock/index.js";
import { createLogger } from "../../src/kernel/log/index.js";
import { freePort } from "../../src/testing/ports.js";
import { type Address, Connection } from "./connection.js";

/** A server that runs. */
export interface Running {
  readonly address: Address;
  /** User and system time of all its processes so far, in microseconds. */
  cpuMicros(): number;
  /** Resident memory of all its processes, in bytes. */
  residentBytes(): number;
  /** Ends the processes and starts them again on the same data; resolves with the seconds until it is ready. */
  restart(): Promise<number>;
  stop(): Promise<void>;
}

/** How a server is started on its directory. */
interface Recipe {
  start(directory: string): Promise<{ readonly children: ChildProcess[]; readonly address: Address }>;
}

/** Starts a server by its name: `argosy`, `argosy in memory`, `four of argosy` in one process, or `kube-apiserver and etcd`. */
export async function startServer(name: string): Promise<Running> {
  const recipe = recipes[name];
  if (recipe === undefined) throw new Error(`no server ${name}`);
  const directory = mkdtempSync(join(tmpdir(), "argosy-bench-apiserver-"));
  let { children, address } = await recipe.start(directory);
  const end = async (): Promise<void> => {
    for (const child of children.toReversed()) {
      child.kill("SIGTERM");
      await new Promise((resolve) => (child.exitCode === null ? child.once("exit", resolve) : resolve(undefined)));
    }
  };
  return {
    get address() {
      return address;
    },
    cpuMicros: () => children.reduce((sum, child) => sum + cpuMicrosOf(child.pid ?? 0), 0),
    residentBytes: () => children.reduce((sum, child) => sum + residentBytesOf(child.pid ?? 0), 0),
    restart: async () => {
      await end();
      const begun = performance.now();
      ({ children, address } = await recipe.start(directory));
      return (performance.now() - begun) / 1000;
    },
    stop: async () => {
      await end();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

const recipes: Readonly<Record<string, Recipe>> = {
  argosy: { start: (directory) => startArgosy(directory, "disk") },
  "argosy in memory": { start: (directory) => startArgosy(directory, "memory") },
  "four of argosy": { start: (directory) => startArgosy(directory, "disk", 4) },
  "kube-apiserver and etcd": { start: startKubernetes },
};

/** The folder of the peer's programs, as `npm run test:real` builds them; `undefined` where they are not. */
export function peerPrograms(): string | undefined {
  return folderWith(["etcd", "kube-apiserver"]);
}

/** The folder that `npm run test:real` built these programs into, or ARGOSY_REAL_BIN. */
export function folderWith(programs: readonly string[]): string | undefined {
  const cache = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "argosy", "realstack");
  const built = existsSync(cache) ? readdirSync(cache).map((name) => join(cache, name)) : [];
  const folders = [process.env["ARGOSY_REAL_BIN"] ?? "", ...built];
  return folders.find((folder) => programs.every((name) => existsSync(join(folder, name))));
}

async function startArgosy(
  directory: string,
  journal: string,
  clusters = 1,
): Promise<{ children: ChildProcess[]; address: Address }> {
  const program = process.argv[1] ?? "";
  const how = ["--serve", directory, "--journal", journal, "--clusters", String(clusters)];
  const child = spawn(process.execPath, [program, ...how], { stdio: ["ignore", "pipe", "inherit"] });
  const address = await new Promise<Address>((resolve, reject) => {
    let output = "";
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    child.stdout?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes("\n")) resolve(JSON.parse(output) as Address);
    });
  });
  await untilReady(address, child);
  return { children: [child], address };
}

/** The body of the process that `startArgosy` starts: the address of its first cluster goes to standard output as one line of JSON. */
export async function serve(dataDir: string, journal: string, clusters: number): Promise<void> {
  const servers: ApiServer[] = [];
  process.on("SIGTERM", () => void Promise.all(servers.map((server) => server.close())).then(() => process.exit(0)));
  let address: Address | undefined;
  for (let index = 0; index < clusters; index++) {
    const directory = index === 0 ? dataDir : join(dataDir, `cluster-${index}`);
    const server = await openServer(`bench-${index}`, journal === "memory" ? undefined : directory);
    servers.push(server);
    const { url, caPem } = await server.listen({ host: "127.0.0.1", port: 0 });
    address ??= { port: Number(new URL(url).port), token: server.adminToken, caPem };
  }
  process.stdout.write(`${JSON.stringify(address)}\n`);
}

function openServer(clusterName: string, dataDir: string | undefined): Promise<ApiServer> {
  const log = createLogger({ clock: systemClock, level: "warn", write: (line) => process.stderr.write(`${line}\n`) });
  return createApiServer({
    clusterName,
    ...(dataDir === undefined ? {} : { dataDir }),
    clock: systemClock,
    random: systemRandom,
    log,
    serviceCidr: "198.19.0.0/24",
    tokens: [],
    authorization: "rbac",
  });
}

const token = "bench-token";

async function startKubernetes(directory: string): Promise<{ children: ChildProcess[]; address: Address }> {
  const programs = peerPrograms() ?? "";
  const client = await freePort();
  const peer = await freePort();
  const secure = await freePort();
  const file = (name: string): string => join(directory, name);
  if (!existsSync(file("sa.key"))) {
    mkdirSync(directory, { recursive: true });
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    writeFileSync(file("sa.key"), privateKey.export({ type: "pkcs8", format: "pem" }));
    writeFileSync(file("sa.pub"), publicKey.export({ type: "spki", format: "pem" }));
    writeFileSync(file("tokens.csv"), `${token},bench,bench,system:masters\n`);
  }
  const run = (name: string, flags: Record<string, string>): ChildProcess =>
    spawn(
      join(programs, name),
      Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`),
      { stdio: "ignore" },
    );
  const etcdUrl = `http://127.0.0.1:${client}`;
  const etcd = run("etcd", {
    "data-dir": file("etcd"),
    "listen-client-urls": etcdUrl,
    "advertise-client-urls": etcdUrl,
    "listen-peer-urls": `http://127.0.0.1:${peer}`,
    "log-level": "error",
  });
  const apiserver = run("kube-apiserver", {
    "etcd-servers": etcdUrl,
    "bind-address": "127.0.0.1",
    "advertise-address": "127.0.0.1",
    "secure-port": String(secure),
    "cert-dir": file("certificates"),
    "token-auth-file": file("tokens.csv"),
    "authorization-mode": "Node,RBAC",
    "service-cluster-ip-range": "10.96.0.0/16",
    "service-account-issuer": "https://kubernetes.default.svc",
    "service-account-key-file": file("sa.pub"),
    "service-account-signing-key-file": file("sa.key"),
  });
  const address = { port: secure, token };
  await untilReady(address, apiserver);
  return { children: [etcd, apiserver], address };
}

async function untilReady(address: Address, child: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 3000; attempt++) {
    if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}`);
    const status = await Connection.open(address)
      .then(async (connection) => {
        const answer = await connection.send("GET", "/readyz");
        connection.close();
        return answer;
      })
      .catch(() => 0);
    if (status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error("the server did not become ready");
}

/** utime and stime of a process (proc(5)), in ticks of 10 ms. */
export function cpuMicrosOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

export function residentBytesOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
}
