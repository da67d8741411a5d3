/**
 * CPU per request of the built-in gateway beside haproxy, and nginx where it is installed: same machine, same run, same routes (prefix match and rewrite, Host
 * set, weights 30/70 over two backends, keep-alive on both sides). Figure: user + system CPU time of the proxy process over
 * requests answered, median of the rounds; they take turns. Load: wrk, 64 connections; backends: one haproxy that answers
 * by itself. Run: `node dist/bench/gateway.js [--seconds 4] [--rounds 3]`; prints JSON, or `{"skipped": why}`.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runGateway } from "../src/dataplane/gateway/index.js";
import { systemClock, systemRandom } from "../src/kernel/clock/index.js";
import { createLogger } from "../src/kernel/log/index.js";
import { freePorts } from "../src/testing/ports.js";

const PREFIX = "/t9k/hypermlservices/namespaces/demo/digits";
const BODY = JSON.stringify({
  model_name: "digits",
  outputs: [{ name: "label", datatype: "INT64", shape: [1], data: [7] }],
});

interface Sample {
  readonly cpuMicrosPerRequest: number;
  /** Of all rounds: what other programs on the machine disturb least. */
  readonly leastCpuMicros?: number;
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

async function main(): Promise<void> {
  const serving = process.argv.indexOf("--serve");
  if (serving >= 0) return serve(process.argv[serving + 1] ?? "");
  const missing = ["haproxy", "wrk"].filter((program) => spawnSync(program, ["-v"]).error !== undefined);
  if (missing.length > 0 || process.platform !== "linux") {
    print({
      bench: "gateway",
      skipped: missing.length > 0 ? `not installed: ${missing.join(", ")}` : "needs Linux (/proc)",
    });
    return;
  }
  const directory = mkdtempSync(join(tmpdir(), "argosy-bench-gateway-"));
  const children: ChildProcess[] = [];
  try {
    print(await measure(directory, children));
  } finally {
    for (const child of children) child.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The gateway as a process of its own. */
async function serve(directory: string): Promise<void> {
  const log = createLogger({ clock: systemClock, level: "warn", write: (line) => process.stderr.write(line) });
  await runGateway({ directory, clock: systemClock, random: systemRandom, log });
}

async function measure(directory: string, children: ChildProcess[]): Promise<unknown> {
  const [one = 0, two = 0, haproxyPort = 0, gatewayPort = 0, nginxPort = 0] = await freePorts(5);
  const start = (program: string, args: string[]): number => {
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "inherit"] });
    children.push(child);
    return child.pid ?? 0;
  };
  writeFileSync(join(directory, "backend.cfg"), backendConfig(one, two));
  writeFileSync(join(directory, "haproxy.cfg"), haproxyConfig(haproxyPort, [one, two]));
  writeFileSync(join(directory, "table.json"), JSON.stringify(gatewayTable(gatewayPort, [one, two])));
  writeFileSync(
    join(directory, "post.lua"),
    `wrk.method = "POST"\nwrk.body = string.rep("x", 1024)\nwrk.headers["Content-Type"] = "application/json"\n`,
  );
  start("haproxy", ["-db", "-f", join(directory, "backend.cfg")]);
  const proxies = [
    {
      name: "haproxy",
      port: haproxyPort,
      pid: start("haproxy", ["-db", "-f", join(directory, "haproxy.cfg")]),
      before: cpuSecondsOf,
    },
    {
      name: "argosy",
      port: gatewayPort,
      pid: start(process.execPath, [fileURLToPath(import.meta.url), "--serve", directory]),
      before: cpuSecondsOf,
    },
  ];
  if (spawnSync("nginx", ["-v"]).error === undefined) {
    writeFileSync(join(directory, "nginx.conf"), nginxConfig(directory, nginxPort, [one, two]));
    const pid = start("nginx", ["-c", join(directory, "nginx.conf"), "-g", "daemon off; master_process off;"]);
    proxies.push({ name: "nginx", port: nginxPort, pid, before: cpuSecondsOf });
  }
  await systemClock.sleep(1500);
  const seconds = argument("--seconds", 4);
  const results: Record<string, Record<string, Sample>> = {};
  for (const load of ["get", "post1k"]) {
    const samples = new Map<string, Sample[]>(proxies.map((proxy) => [proxy.name, []]));
    for (let round = -1; round < argument("--rounds", 3); round++) {
      for (const proxy of proxies) {
        const sample = run(proxy.pid, `http://127.0.0.1:${proxy.port}${PREFIX}/v2/models/digits/infer`, {
          seconds: round < 0 ? 1 : seconds,
          script: load === "post1k" ? join(directory, "post.lua") : undefined,
        });
        if (round >= 0) samples.get(proxy.name)?.push(sample);
      }
    }
    results[load] = Object.fromEntries([...samples].map(([name, list]) => [name, median(list)]));
  }
  const hang = await measureHang(children[0], gatewayPort);
  const ratio = (
    load: string,
    peer = "haproxy",
    figure: "cpuMicrosPerRequest" | "leastCpuMicros" = "cpuMicrosPerRequest",
  ) => round2((results[load]?.["argosy"]?.[figure] ?? 0) / (results[load]?.[peer]?.[figure] ?? 1));
  return {
    bench: "gateway",
    haproxy: execFileSync("haproxy", ["-v"], { encoding: "utf8" }).split("\n")[0],
    node: process.version,
    cpu: `${cpus().length} x ${cpus()[0]?.model}`,
    results,
    hungBackend: hang,
    cpuRatioToHaproxy: { get: ratio("get"), post1k: ratio("post1k") },
    leastCpuRatioToHaproxy: {
      get: ratio("get", "haproxy", "leastCpuMicros"),
      post1k: ratio("post1k", "haproxy", "leastCpuMicros"),
    },
    ...(proxies.length > 2
      ? { cpuRatioToNginx: { get: ratio("get", "nginx"), post1k: ratio("post1k", "nginx") } }
      : {}),
    bar: 1,
  };
}

/** Freezes the backends' process and asks how long the gateway still sends them requests. Bound: 2 s. */
async function measureHang(
  backends: ChildProcess | undefined,
  port: number,
): Promise<{ outAfterMs: number; status: number }> {
  const ask = (): Promise<number> =>
    new Promise((resolve) => {
      const call = request({ port, host: "127.0.0.1", path: `${PREFIX}/x`, agent: false, timeout: 60 }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      call.on("timeout", () => call.destroy());
      call.on("error", () => resolve(0));
      call.end();
    });
  backends?.kill("SIGSTOP");
  const began = performance.now();
  let status = 0;
  // While a backend is in use its requests hang; 503 at once says that none is.
  while (status !== 503 && performance.now() - began < 10_000) status = await ask();
  const outAfterMs = Math.round(performance.now() - began);
  backends?.kill("SIGCONT");
  return { outAfterMs, status };
}

function run(pid: number, url: string, options: { seconds: number; script: string | undefined }): Sample {
  const before = cpuSecondsOf(pid);
  const output = execFileSync(
    "wrk",
    [
      "-t1",
      "-c64",
      `-d${options.seconds}s`,
      "--latency",
      ...(options.script === undefined ? [] : ["-s", options.script]),
      url,
    ],
    { encoding: "utf8" },
  );
  const cpuSeconds = cpuSecondsOf(pid) - before;
  if (/Non-2xx|Socket errors/.test(output)) throw new Error(`load run failed: ${output}`);
  const requests = Number(/(\d+) requests in/.exec(output)?.[1]);
  return {
    cpuMicrosPerRequest: round2((cpuSeconds * 1e6) / requests),
    requestsPerSecond: Math.round(Number(/Requests\/sec:\s+([\d.]+)/.exec(output)?.[1])),
    p50Ms: milliseconds(/50%\s+([\d.]+\w+)/.exec(output)?.[1] ?? ""),
    p99Ms: milliseconds(/99%\s+([\d.]+\w+)/.exec(output)?.[1] ?? ""),
  };
}

/** User and system time of a process, all threads. */
function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function median(samples: readonly Sample[]): Sample {
  const sorted = [...samples].sort((a, b) => a.cpuMicrosPerRequest - b.cpuMicrosPerRequest);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (middle === undefined) throw new Error("no samples");
  return { ...middle, leastCpuMicros: sorted[0]?.cpuMicrosPerRequest ?? 0 };
}

function milliseconds(text: string): number {
  const value = Number.parseFloat(text);
  return round2(text.endsWith("us") ? value / 1000 : text.endsWith("ms") ? value : value * 1000);
}

function gatewayTable(port: number, backends: readonly number[]): unknown {
  return {
    version: 1,
    listeners: [{ name: "head", host: "127.0.0.1", port }],
    routes: [
      {
        id: "demo/digits",
        listener: "head",
        path: `${PREFIX}/`,
        rewrite: "/",
        backends: backends.map((backendPort, index) => ({
          name: `cluster-${index}`,
          host: `digits.demo.cluster-${index}.argosy.localhost`,
          addresses: [`127.0.0.1:${backendPort}`],
          weight: index === 0 ? 30 : 70,
          health: { path: "/v2/health/ready" },
        })),
      },
    ],
  };
}

function haproxyConfig(port: number, backends: readonly number[]): string {
  return `global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always
frontend head
  bind 127.0.0.1:${port}
  option forwardfor
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Proto http
  use_backend digits if { path_beg ${PREFIX}/ }
backend digits
  balance roundrobin
  option httpchk GET /v2/health/ready
  http-request replace-path ${PREFIX}/(.*) /\\1
  http-request set-header Host digits.demo.argosy.localhost
${backends.map((backend, index) => `  server s${index} 127.0.0.1:${backend} weight ${index === 0 ? 30 : 70} check inter 500ms`).join("\n")}
`;
}

function nginxConfig(directory: string, port: number, backends: readonly number[]): string {
  return `worker_processes 1;
pid ${directory}/nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000;
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  upstream digits {
${backends.map((backend, index) => `    server 127.0.0.1:${backend} weight=${index === 0 ? 30 : 70};`).join("\n")}
    keepalive 128;
  }
  server {
    listen 127.0.0.1:${port};
    location ^~ ${PREFIX}/ {
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host digits.demo.argosy.localhost;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_pass http://digits/;
    }
  }
}
`;
}

function backendConfig(one: number, two: number): string {
  return `global
  nbthread 1
defaults
  mode http
  timeout client 60s
  timeout http-keep-alive 60s
  timeout connect 1s
  timeout server 60s
frontend backends
  bind 127.0.0.1:${one}
  bind 127.0.0.1:${two}
  http-request return status 200 content-type application/json string '${BODY}'
`;
}

function argument(name: string, fallback: number): number {
  const index = process.argv.indexOf(name);
  return index < 0 ? fallback : Number(process.argv[index + 1]);
}

function round2(value: number): number {
  return Math.round(value * 100) / 100;
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

await main();
