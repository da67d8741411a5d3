import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** A test that is ended in a hurry leaves nothing behind. */
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Processes that run until `close`, with their logs in a folder. */
export class Programs {
  readonly #folder: string;
  readonly #children: { readonly name: string; readonly child: ChildProcess }[] = [];

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Starts a program with flags (`--name=value`), or with words as they are. */
  start(
    program: string,
    args: Readonly<Record<string, string>> | readonly string[],
    name = basename(program),
    env: Readonly<Record<string, string>> = {},
  ): ChildProcess {
    const log = openSync(join(this.#folder, `${name}.log`), "a");
    const isWords = (given: typeof args): given is readonly string[] => Array.isArray(given);
    const words = isWords(args) ? args : Object.entries(args).map(([flag, value]) => `--${flag}=${value}`);
    const child = spawn(program, words, { stdio: ["ignore", log, log], env: { ...process.env, ...env } });
    closeSync(log);
    running.add(child);
    child.once("exit", () => running.delete(child));
    this.#children.push({ name, child });
    return child;
  }

  pids(): readonly number[] {
    return this.#children.flatMap(({ child }) => child.pid ?? []);
  }

  /** Waits until something holds, as long as every program lives. Throws with the last words of all when it does not come to hold. */
  async until(what: string, holds: () => Promise<boolean>, seconds = 60): Promise<void> {
    for (let attempt = 0; attempt < seconds * 5; attempt += 1) {
      const dead = this.#children.find(({ child }) => child.exitCode !== null);
      if (dead !== undefined) throw new Error(`${dead.name} ended: ${this.#lastWords(dead.name)}`);
      if (await holds().catch(() => false)) return;
      await sleep(200);
    }
    throw new Error(
      `${what}: not within ${seconds} s; ${this.#children.map(({ name }) => this.#lastWords(name)).join("\n")}`,
    );
  }

  #lastWords(name: string): string {
    return `${name} said: ${readFileSync(join(this.#folder, `${name}.log`), "utf8").slice(-600)}`;
  }

  /** Ends them, those that started last first. */
  async close(): Promise<void> {
    for (const { child } of this.#children.splice(0).reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      await Promise.race([ended, sleep(5000)]);
      child.kill("SIGKILL");
      await ended;
    }
  }
}
