import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { afterAll, type TestContext, test } from "vitest";
import { detectIsolation } from "../../src/cluster/node/index.js";
import { packageRoot } from "../../src/kernel/assets/index.js";
import { temporaryFolder } from "../../src/testing/folder.js";
import { argosy, startArgosy } from "../support/argosy.js";

/** Where the clients' programs and requirements are; packaged tests are compiled elsewhere, so they are found from the clone. */
export const clientsFolder = join(packageRoot(), "tests", "clients");

/** A client that somebody else wrote, installed outside the clone, in a folder named after what it is made from. */
export interface Tool {
  readonly name: string;
  /** The word in `ARGOSY_TEST_INSTALL` (comma separated) that lets tests install it: `npm run test:real` gives all of them. */
  readonly kind: "go" | "python" | "javascript";
  /** What it is made from, below `clientsFolder`. */
  readonly sources: readonly string[];
  /** Fills an empty folder. */
  readonly install: (folder: string) => Promise<void>;
}

/** Why a tool cannot be used; tests are skipped with it. */
export class Missing extends Error {}

const obtained = new Map<string, Promise<string>>();

/** The folder of an installed tool. Throws `Missing` where it is not there and may not, or cannot, be installed. */
export function obtain(tool: Tool): Promise<string> {
  const known = obtained.get(tool.name) ?? obtainOnce(tool);
  obtained.set(tool.name, known);
  return known;
}

function mayInstall(kind: Tool["kind"]): boolean {
  return (process.env["ARGOSY_TEST_INSTALL"] ?? "").split(",").includes(kind);
}

async function obtainOnce({ name, kind, sources, install }: Tool): Promise<string> {
  const sums = createHash("sha256");
  for (const file of sources) sums.update(readFileSync(join(clientsFolder, file)));
  const cache = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "argosy", "clients");
  const folder = join(cache, `${name}-${sums.digest("hex").slice(0, 16)}`);
  if (existsSync(folder)) return folder;
  if (!mayInstall(kind))
    throw new Missing(`${name} is not installed (npm run test:real, or ARGOSY_TEST_INSTALL=${kind}, installs it)`);
  const program = { go: "go", python: "python3", javascript: "npm" }[kind];
  if ((await execute("sh", ["-c", `command -v ${program}`])).code !== 0)
    throw new Missing(`${program} is not installed`);
  mkdirSync(cache, { recursive: true });
  const partial = mkdtempSync(join(cache, `.${name}-`));
  try {
    await install(partial);
    renameSync(partial, folder);
    return folder;
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    throw new Missing(`${name} could not be installed: ${String(error).slice(0, 300)}`);
  }
}

/** Builds a package of the module in `tests/clients/NAME` as FOLDER/NAME, on one core. */
export function goTool(name: string, target = "."): Tool {
  const files = readdirSync(join(clientsFolder, name)).filter((file) => /^go\.(mod|sum)$|\.go$/.test(file));
  return {
    name,
    kind: "go",
    sources: files.sort().map((file) => join(name, file)),
    install: async (folder) => {
      await succeed("go", ["build", "-trimpath", "-ldflags", "-s -w", "-o", join(folder, name), target], {
        cwd: join(clientsFolder, name),
        env: { CGO_ENABLED: "0", GOFLAGS: "-mod=readonly -buildvcs=false -p=1" },
      });
    },
  };
}

/** The packages of a file of requirements below `clientsFolder`; they are found by PYTHONPATH, with any Python of the machine. */
export function pythonTool(name: string, requirements: string): Tool {
  const file = join(clientsFolder, requirements);
  return {
    name,
    kind: "python",
    sources: [requirements],
    install: async (folder) => {
      await succeed("python3", ["-m", "pip", "install", "-q", "--retries", "1", "--target", folder, "-r", file], {
        timeoutMs: 400_000,
      });
    },
  };
}

interface ExecuteOptions {
  readonly cwd?: string;
  /** Added to this process' own. */
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  /** What it reads. */
  readonly input?: string;
}

/** What a program said until it ended. */
export interface Executed {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; kills it after `timeoutMs` (default: 10 minutes). */
export function execute(command: string, words: readonly string[], options: ExecuteOptions = {}): Promise<Executed> {
  const { cwd, env = {}, timeoutMs = 600_000, input = "" } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(command, words, {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, ...env },
      timeout: timeoutMs,
      killSignal: "SIGKILL",
      ...(cwd === undefined ? {} : { cwd }),
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, stdout, stderr }));
    // A program that reads no input may close it first.
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
  });
}

/** Runs a program that must end well. */
export async function succeed(
  command: string,
  words: readonly string[],
  options: ExecuteOptions = {},
): Promise<string> {
  const { code, stdout, stderr } = await execute(command, words, options);
  if (code !== 0)
    throw new Error(`${command} ${words.join(" ")} ended with ${code}: ${stderr.slice(-2000) || stdout.slice(-2000)}`);
  return stdout;
}

/** A cluster as `argosy up` makes it, with one node. */
export interface ClientCluster {
  /** Everything that it keeps. */
  readonly directory: string;
  /** Current context: the cluster with the node. */
  readonly kubeconfig: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Why pods cannot run here. */
export const noPods =
  detectIsolation().mode === "none" ? "this machine isolates no pods (argosy doctor says why)" : undefined;

let running: Promise<ClientCluster> | undefined;
let directory = "";

/** One for all tests of a file, started when first asked for, with or without Argosy's own controllers; call at the top of the file. */
export function sharedCluster(modules: "with" | "without" = "without"): () => Promise<ClientCluster> {
  running = undefined;
  afterAll(async () => {
    if (running === undefined) return;
    await argosy("down", "--data", directory);
    rmSync(directory, { recursive: true, force: true });
  }, 60_000);
  return () => {
    running ??= start(modules === "with" ? [] : ["--without", "modules"]);
    return running;
  };
}

async function start(words: readonly string[]): Promise<ClientCluster> {
  directory = mkdtempSync(join(tmpdir(), "argosy-clients-"));
  const web = join(directory, "web");
  mkdirSync(web);
  const server = 'require("http").createServer((_, s) => s.end("hello\\n")).listen(process.env.PORT || 80)';
  writeFileSync(join(web, "server.js"), server);
  // Public charts and examples name these images.
  const images = [
    `nginx: {directory: ${web}, entrypoint: [node, server.js]}`,
    `busybox: {directory: ${web}, workingDir: /tmp}`,
  ];
  writeFileSync(join(directory, "images.yaml"), images.join("\n"));
  await startArgosy(["up", ...words, "--members", "one=1", "--data", directory]).says("ready:");
  const kubeconfig = join(directory, "kubeconfig");
  const text = readFileSync(kubeconfig, "utf8");
  writeFileSync(kubeconfig, text.replace("current-context: hub", "current-context: one"));
  return { directory, kubeconfig, env: { KUBECONFIG: kubeconfig, KUBECACHEDIR: join(directory, "cache") } };
}

/** A test that is skipped, with the reason, where the tool is missing. */
export function testWith(
  tool: Tool,
  name: string,
  body: (folder: string, context: TestContext) => Promise<void>,
  timeoutMs = 900_000,
): void {
  test(
    name,
    async (context) => {
      const folder = await obtain(tool).catch((error: unknown) => {
        if (error instanceof Missing) return context.skip(`skipped, because ${error.message}`);
        throw error;
      });
      await body(folder, context);
    },
    timeoutMs,
  );
}

/**
 * The programs of the clients print a line of JSON for each check, `{"check": NAME, "result": "ok" or what went wrong}`.
 * Returns the results by name; a program that ended badly adds its last words.
 */
export async function runChecks(
  command: string,
  words: readonly string[],
  options: ExecuteOptions,
): Promise<Record<string, string>> {
  // Clients keep files of their own there, and leave them.
  const env = { ...options.env, TMPDIR: temporaryFolder("checks") };
  const { code, stdout, stderr } = await execute(command, words, { timeoutMs: 300_000, ...options, env });
  const results: Record<string, string> = {};
  for (const line of stdout.split("\n")) {
    if (!line.startsWith("{")) continue;
    const { check, result } = JSON.parse(line) as { check: string; result: string };
    results[check] = result;
  }
  if (code !== 0) results["the program"] = `ended with ${code}: ${stderr.slice(-3000)}`;
  return results;
}

/** What `runChecks` returns when all went well. */
export function allOk(...names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, "ok"]));
}

/** Every kubectl of this machine: the one on the PATH, and those of other versions beside it (`kubectl.1.27`, …). */
export const kubectls: readonly { readonly version: string; readonly program: string }[] = findKubectls();

function findKubectls(): { version: string; program: string }[] {
  const found = new Map<string, string>();
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    const plain = join(folder, "kubectl");
    if (!existsSync(plain) || found.has("kubectl")) continue;
    found.set("kubectl", plain);
    const real = dirname(realpathSync(plain));
    for (const file of readdirSync(real)) if (/^kubectl\.1\.\d+$/.test(file)) found.set(file, join(real, file));
  }
  const all = [...found].map(([version, program]) => ({ version, program }));
  // A version costs some ten seconds; in a plain run the usual one and the oldest stand for all.
  return mayInstall("go") ? all : all.slice(0, 2);
}

/** What kubectl prints; it must end well. */
export function kubectl(env: Readonly<Record<string, string>>, ...words: string[]): Promise<string> {
  return succeed("kubectl", words, { env });
}
