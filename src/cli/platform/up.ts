import { spawn } from "node:child_process";
import { open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "../../kernel/clock/index.js";
import { collectSeldom } from "../../kernel/program/index.js";
import {
  DirectoryInUseError,
  type Layout,
  layoutOf,
  type MemberOptions,
  makeDirectory,
  type Platform,
  type PlatformOptions,
  parseParts,
  parseRuntime,
  readAddresses,
  readSecurity,
  runningProcess,
  startPlatform,
} from "../../platform/index.js";
import type { CliContext } from "../context.js";
import { CommandError, InterruptedError } from "../errors.js";
import { StepList } from "../output/steps.js";
import type { Terminal } from "../output/terminal.js";
import { down } from "./down.js";
import { membersOf, parseMembers } from "./members.js";
import { type SecurityFlags, securityArguments, securityOf } from "./security.js";
import { type EndRequest, untilSignal } from "./signals.js";

export interface UpOptions extends SecurityFlags {
  readonly data: string;
  /** Absent: those of the last start. */
  readonly members?: string;
  readonly detach?: boolean;
  readonly fresh?: boolean;
  readonly without?: string;
  /** Absent: that of the last start. */
  readonly runtime?: string;
}

/** `argosy up`: runs until a signal, or, detached, until it is ready. */
export async function up(context: CliContext, options: UpOptions): Promise<void> {
  if (options.detach === true) {
    await upDetached(context.terminal, options);
    return;
  }
  const ending = untilSignal();
  const platform = await bringUpUnlessAsked(context.terminal, ending, () =>
    bringUp(options, new StepList(context.terminal, systemClock)),
  );
  context.terminal.err(`ready: kubectl --kubeconfig ${platform.layout.kubeconfig} --context hub get clusters\n`);
  await runUntilAsked(context.terminal, platform, ending);
}

/** Brings a platform up. When asked to end meanwhile, it is stopped as soon as it is up: nothing is left running. */
export async function bringUpUnlessAsked(
  terminal: Terminal,
  ending: Promise<EndRequest>,
  bring: () => Promise<Platform>,
): Promise<Platform> {
  let request: EndRequest | undefined;
  let isStarting = true;
  void ending.then((asked) => {
    request = asked;
    if (isStarting) {
      terminal.err("ending once it is up; Ctrl-C again ends at once\n");
    }
  });
  const platform = await bring();
  isStarting = false;
  if (request !== undefined) {
    await shutDown(terminal, platform, { keepPods: request === "leave" });
    throw new InterruptedError("ended before it was up");
  }
  return platform;
}

/** Starts the platform with its steps shown; also what `argosy start` begins with. */
export async function bringUp(options: Omit<UpOptions, "detach">, steps: StepList): Promise<Platform> {
  const layout = layoutOf(options.data);
  const wishes = await wishesOf(layout, options);
  if (options.fresh === true) {
    await clear(options.data);
  }
  collectSeldom();
  return startPlatform({
    dataDir: layout.root,
    members: await wantedMembers(layout, options.members, steps),
    ...wishes,
    step: (title, work) => steps.run(title, work),
    note: (text) => steps.note(text),
  });
}

/** What is asked for, read before anything is touched: a slip costs nobody the data. */
async function wishesOf(
  layout: Layout,
  options: Omit<UpOptions, "detach">,
): Promise<Pick<PlatformOptions, "without" | "runtime" | "security">> {
  parseMembers(options.members ?? membersOf(undefined));
  const security = securityOf(options);
  await readSecurity(layout, security);
  return {
    security,
    ...(options.without === undefined ? {} : { without: parseParts(options.without) }),
    ...(options.runtime === undefined ? {} : { runtime: parseRuntime(options.runtime) }),
  };
}

/** What `--members` says, else what the last start had; says which of those are left out. */
async function wantedMembers(layout: Layout, wish: string | undefined, steps: StepList): Promise<MemberOptions[]> {
  const addresses = await readAddresses(layout);
  const last = parseMembers(membersOf(addresses));
  const members = wish === undefined ? last : parseMembers(wish);
  const resting = last.filter(({ name }) => members.every((member) => member.name !== name)).map(({ name }) => name);
  if (resting.length > 0 && addresses !== undefined) {
    steps.note(`up at the last start, and not among --members now: ${resting.join(", ")} (the data stay)`);
  }
  return members;
}

/** `--fresh`: refuses while somebody runs there, ends what was left running, removes the data. */
async function clear(directory: string): Promise<void> {
  const layout = layoutOf(directory);
  const running = await runningProcess(layout);
  if (running !== undefined) {
    throw new DirectoryInUseError(layout.root, running.pid);
  }
  await down({ terminal: { ...silentTerminal }, exit: () => undefined }, { data: directory });
  for (const name of [
    "argosy.json",
    "addresses.json",
    "argosy.pid",
    "kubeconfig",
    "runtime",
    "clusters",
    "gateway",
    "artifacts",
    "logs",
    "pki",
    "records.db",
    "records.db-wal",
    "records.db-shm",
    "records.db.lock",
    "records.db.owner",
  ]) {
    await rm(join(layout.root, name), { recursive: true, force: true });
  }
}

const silentTerminal: Terminal = {
  out: () => undefined,
  err: () => undefined,
  readStdin: async () => "",
  live: false,
  columns: 100,
  env: {},
};

async function upDetached(terminal: Terminal, options: UpOptions): Promise<void> {
  const layout = layoutOf(options.data);
  const running = await runningProcess(layout);
  if (running !== undefined) {
    throw new DirectoryInUseError(layout.root, running.pid);
  }
  const wishes = await wishesOf(layout, options);
  if (options.fresh === true) {
    await clear(options.data);
  }
  const without = wishes.without === undefined ? [] : ["--without", [...wishes.without].join(",")];
  const runtime = wishes.runtime === undefined ? [] : ["--runtime", wishes.runtime];
  const members = options.members === undefined ? [] : ["--members", options.members];
  await makeDirectory(layout);
  const output = await open(join(layout.logs, "up.log"), "w", 0o600);
  const main = process.argv[1] ?? "";
  const words = ["up", "--data", layout.root, ...members, ...without, ...runtime, ...securityArguments(options)];
  const child = spawn(process.execPath, [main, ...words], {
    detached: true,
    stdio: ["ignore", output.fd, output.fd],
  });
  const ended = new Promise<number>((resolve) => child.once("exit", (code) => resolve(code ?? 1)));
  let code: number | undefined;
  void ended.then((value) => {
    code = value;
  });
  let isAsked = false;
  void untilSignal().then(() => {
    isAsked = true;
    child.kill("SIGTERM");
  });
  while (!(await isReady(layout.logs))) {
    if (code !== undefined && isAsked) {
      throw new InterruptedError("ended before it was up");
    }
    if (code !== undefined) {
      throw new CommandError(`it ended with code ${code} before it was ready: ${await lastWords(layout.logs)}`);
    }
    await systemClock.sleep(100);
  }
  child.unref();
  await output.close();
  const addresses = await readAddresses(layout);
  terminal.err(
    `Argosy runs in the background (process ${child.pid ?? 0}); hub at ${addresses?.clusters[0]?.api ?? "?"}; stop it with \`argosy down --data ${options.data}\`\n`,
  );
}

/** Why a background start ended: its error, else where to look. */
async function lastWords(logs: string): Promise<string> {
  const file = join(logs, "up.log");
  const error = (await readFile(file, "utf8")).split("\n").findLast((line) => line.startsWith("error: "));
  return error === undefined ? `see ${file}` : `${error.slice("error: ".length)} (see ${file})`;
}

async function isReady(logs: string): Promise<boolean> {
  return (await readFile(join(logs, "up.log"), "utf8")).includes("\nready: ");
}

/** Waits for the request to end, then stops the platform accordingly. */
export async function runUntilAsked(
  terminal: Terminal,
  platform: Platform,
  ending: Promise<EndRequest>,
): Promise<void> {
  const request = await ending;
  await shutDown(terminal, platform, { keepPods: request === "leave" });
}

/** Stops a platform of this process. */
export async function shutDown(terminal: Terminal, platform: Platform, options: { keepPods: boolean }): Promise<void> {
  terminal.err("stopping …\n");
  await platform.close(options);
}
