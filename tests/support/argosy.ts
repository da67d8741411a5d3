import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packageRoot } from "../../src/kernel/assets/index.js";

/** What a finished command left. */
export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running `argosy` command. */
export interface Running {
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
  stderr(): string;
  /** Resolves when stderr holds the text; rejects when the process ends first. */
  says(text: string): Promise<void>;
}

/** Starts `argosy` with these words, as a user's shell would. */
export function startArgosy(words: readonly string[]): Running {
  const child = spawn(process.execPath, [join(packageRoot(), "bin", "argosy.mjs"), ...words], {
    cwd: packageRoot(),
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, CI: "true" },
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
  return {
    child,
    finished,
    stderr: () => stderr,
    says: (text) =>
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
          reject(
            new Error(
              `argosy ${words.join(" ")} ended with ${code} before it said ${JSON.stringify(text)}:\n${stderr}`,
            ),
          ),
        );
      }),
  };
}

/** Runs `argosy` to its end. */
export function argosy(...words: readonly string[]): Promise<Finished> {
  return startArgosy(words).finished;
}

/** Runs any program to its end. */
export function runProgram(command: string, words: readonly string[], input?: string): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, words, { stdio: ["pipe", "pipe", "pipe"] });
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
    child.stdin.end(input ?? "");
  });
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
