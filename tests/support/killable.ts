import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../src/kernel/assets/index.js";
import { createClient, httpTransport } from "../../src/kernel/client/index.js";
import type { ApiClient } from "../../src/kernel/client/types.js";
import { systemClock, systemRandom } from "../../src/kernel/clock/index.js";

const program = join(packageRoot(), "dist", "tests", "support", "api-server.js");

/** Whether the program that `Killable` starts is there. */
export const isKillableBuilt = (): boolean => existsSync(program);

/** One API server after another on the same data and, from the second on, the same port. */
export class Killable {
  readonly #directory: string;
  #child: ChildProcess | undefined;
  #port = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, [program, this.#directory, String(this.#port)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#child = child;
    this.#port = await new Promise<number>((resolve, reject) => {
      child.once("exit", (code) => reject(new Error(`the server ended with ${code} before it listened`)));
      child.stdout?.once("data", (chunk: Buffer) => resolve(Number(chunk.toString())));
    });
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("exit", resolve));
  }

  /** Where it is, and its administrator's token. */
  get access(): { readonly server: string; readonly caPem: string; readonly token: string } {
    const pki = (name: string): string => readFileSync(join(this.#directory, "pki", name), "utf8");
    return { server: `https://127.0.0.1:${this.#port}`, caPem: pki("ca.crt"), token: pki("admin.token").trim() };
  }

  client(): ApiClient {
    return createClient({ transport: httpTransport(this.access), clock: systemClock, random: systemRandom });
  }
}
