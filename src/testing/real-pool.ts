import { type ChildProcess, spawn } from "node:child_process";
import { Agent, request } from "undici";
import { systemClock } from "../kernel/clock/index.js";
import { asList, asObjects, asString, isObject } from "../kernel/schema/index.js";
import { type RealStack, type StackOptions, startStack } from "./real-stack.js";

/** A server that a test had, as it was when it was new. */
interface Kept {
  readonly stack: RealStack;
  readonly guard: ChildProcess;
  readonly mark: string;
  /** What its store held, by key; both base64. */
  readonly contents: ReadonlyMap<string, string>;
  readonly groups: readonly string[];
}

/** The last that were given back; each holds 350 MiB. */
const idle: Kept[] = [];
const MOST_IDLE = 4;
const inUse = new Map<RealStack, Kept>();

/** A server's own doings, some of them later than its start. */
const OF_ITS_OWN =
  /^\/registry\/(masterleases|leases\/kube-system|flowschemas|prioritylevelconfigurations|servicecidrs|configmaps\/kube-system)\//;

/**
 * A server as `startStack` makes it, or one that an earlier test of this thread gave back: its store is then as it was when it was new, which takes a
 * hundredth of the time that a start takes.
 */
export async function takeStack(programs: string, options: StackOptions): Promise<RealStack> {
  const mark = JSON.stringify([programs, options]);
  const found = idle.findIndex((kept) => kept.mark === mark);
  const [kept] = found < 0 ? [await startKept(programs, options, mark)] : idle.splice(found, 1);
  if (kept === undefined) throw new TypeError("what was found is there");
  inUse.set(kept.stack, kept);
  return kept.stack;
}

/** Gives it back; one that does not become as new ends. */
export async function giveBack(stack: RealStack): Promise<void> {
  const kept = inUse.get(stack);
  inUse.delete(stack);
  if (kept === undefined) return;
  const isNew = await renewed(kept).catch(() => false);
  if (isNew) idle.push(kept);
  const over = isNew ? idle.splice(0, idle.length - MOST_IDLE) : [kept];
  for (const each of over) {
    // Before its processes' numbers can be somebody else's.
    if (each.guard.pid !== undefined) process.kill(-each.guard.pid, "SIGKILL");
    await each.stack.close();
  }
}

async function startKept(programs: string, options: StackOptions, mark: string): Promise<Kept> {
  const stack = await startStack(programs, options);
  return { stack, guard: endWithThread(stack), mark, contents: await contentsOf(stack), groups: await groupsOf(stack) };
}

/** An idle server ends when this thread or process does, however that ends: the pipe to its guard is closed then. */
function endWithThread(stack: RealStack): ChildProcess {
  const words = ["-c", 'cat; folder=$1; shift; kill -KILL "$@"; rm -rf "$folder"', "sh", stack.folder];
  const pids = stack.pids().map(String);
  const guard = spawn("sh", [...words, ...pids], { detached: true, stdio: ["pipe", "ignore", "ignore"] });
  guard.unref();
  const { stdin } = guard;
  if ("unref" in stdin && typeof stdin.unref === "function") stdin.unref();
  return guard;
}

async function renewed({ stack, contents, groups }: Kept): Promise<boolean> {
  // What is being deleted or finished when the test ends may write again.
  for (let round = 0; round < 20; round += 1) {
    const now = await contentsOf(stack);
    const isOthers = (key: string): boolean => !OF_ITS_OWN.test(Buffer.from(key, "base64").toString("utf8"));
    const gone = [...now.keys()].filter((key) => !contents.has(key) && isOthers(key));
    const changed = [...contents].filter(([key, value]) => now.get(key) !== value && isOthers(key));
    if (gone.length === 0 && changed.length === 0 && sameGroups(groups, await groupsOf(stack))) return true;
    for (const key of gone) await etcd(stack, "deleterange", { key });
    for (const [key, value] of changed) await etcd(stack, "put", { key, value });
    await systemClock.sleep(50);
  }
  return false;
}

const encoded = (text: string): string => Buffer.from(text).toString("base64");

async function contentsOf(stack: RealStack): Promise<ReadonlyMap<string, string>> {
  const answer = await etcd(stack, "range", { key: encoded("/registry/"), range_end: encoded("/registry0") });
  const entries = isObject(answer) ? asObjects(answer["kvs"]) : [];
  return new Map(entries.map(({ key, value }) => [asString(key), asString(value)]));
}

/** Groups of the API besides the core. */
async function groupsOf({ url, caPem, token }: RealStack): Promise<readonly string[]> {
  const dispatcher = new Agent({ connect: { ca: caPem } });
  try {
    const { body } = await request(`${url}/apis`, { dispatcher, headers: { authorization: `Bearer ${token}` } });
    const answer: unknown = await body.json();
    return isObject(answer) ? asObjects(asList(answer["groups"])).map(({ name }) => asString(name)) : [];
  } finally {
    await dispatcher.close();
  }
}

function sameGroups(before: readonly string[], now: readonly string[]): boolean {
  return before.length === now.length && before.every((group) => now.includes(group));
}

/** One call of etcd's JSON gateway. */
async function etcd({ store }: RealStack, call: string, body: object): Promise<unknown> {
  const answer = await request(`${store}/v3/kv/${call}`, { method: "POST", body: JSON.stringify(body) });
  if (answer.statusCode !== 200) throw new TypeError(`etcd answers ${answer.statusCode}`);
  return answer.body.json();
}
