import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packageRoot } from "../../src/kernel/assets/index.js";
import { within } from "./polling.js";

/** What a command may take before it is taken for hung; one that starts a fleet may have to train a model. */
const boundOf = (words: readonly string[]): number => (words.includes("start") ? 200_000 : 100_000);
/** The end of what a program said, for the message of one that hangs. */
const endOf = (text: string): string => text.slice(-2000);

/** What a finished command left. */
export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running `argosy` command. */
export interface Running {
  readonly child: ChildProcess;
  /** Its end; rejects when it does not come within 100 s of being asked for (200 s for `start`). */
  readonly finished: Promise<Finished>;
  stderr(): string;
  /** Resolves when stderr holds the text; rejects when the process ends first, or says something else for 100 s (200 s for `start`). */
  says(text: string): Promise<void>;
}

/** Starts `argosy` with these words, as a user's shell would; `environment` is added to this process' own. */
export function startArgosy(words: readonly string[], environment: Readonly<Record<string, string>> = {}): Running {
  const child = spawn(process.execPath, [join(packageRoot(), "bin", "argosy.mjs"), ...words], {
    cwd: packageRoot(),
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, CI: "true", ...environment },
  });
  let stdout = "";
  let stderr = "";
  const listeners = new Set<() => void>();
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    for (const listener of listeners) {
      listener();
    }
  });
  const finished = new Promise<Finished>((resolve) => child.once("close", (code) => resolve({ code, stdout, stderr })));
  const title = `argosy ${words.join(" ")}`;
  const options = { boundMs: boundOf(words), seen: () => endOf(stderr) };
  const said = (text: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (stderr.includes(text)) {
          listeners.delete(look);
          resolve();
        }
      };
      listeners.add(look);
      look();
      void finished.then(({ code }) =>
        reject(new Error(`${title} ended with ${code} before it said ${JSON.stringify(text)}:\n${stderr}`)),
      );
    });
  return {
    child,
    get finished() {
      return within(`${title} ends`, finished, options);
    },
    stderr: () => stderr,
    says: (text) => within(`${title} says ${JSON.stringify(text)}`, said(text), options),
  };
}

/** Runs `argosy` to its end; one that hangs is killed, and told of. */
export async function argosy(...words: readonly string[]): Promise<Finished> {
  const running = startArgosy(words);
  try {
    return await running.finished;
  } finally {
    running.child.kill("SIGKILL");
  }
}

/** Runs any program to its end; one that hangs is killed, and told of. */
export async function runProgram(command: string, words: readonly string[], input?: string): Promise<Finished> {
  const child = spawn(command, words, { stdio: ["pipe", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  const finished = new Promise<Finished>((resolve, reject) => {
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
    child.stdin.end(input ?? "");
  });
  try {
    const options = { boundMs: boundOf(words), seen: () => endOf(stderr) };
    return await within(`${command} ${words.join(" ")} ends`, finished, options);
  } finally {
    child.kill("SIGKILL");
  }
}

/** Whether a program is on the PATH. */
export async function hasProgram(command: string): Promise<boolean> {
  return (await runProgram("sh", ["-c", `command -v ${command}`])).code === 0;
}

/** A data directory that is stopped and removed after `use`. */
export async function withDataDirectory(use: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "argosy-e2e-"));
  try {
    await use(directory);
  } finally {
    await argosy("down", "--data", directory);
    rmSync(directory, { recursive: true, force: true });
  }
}
