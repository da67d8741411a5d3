import { execFile, execFileSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { NodeError } from "./errors.js";

const searchPath = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];
const found = new Map<string, string | undefined>();

/** Absolute path of a program of the host's userland, or `undefined`. Looked up once. */
export function findProgram(name: string): string | undefined {
  if (found.has(name)) return found.get(name);
  const path = searchPath.map((folder) => `${folder}/${name}`).find(isExecutable);
  found.set(name, path);
  return path;
}

/** Whether the file may be executed by this process. */
export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Absolute path of a program; throws a `NodeError` that names the package to install. */
export function requireProgram(name: string): string {
  const path = findProgram(name);
  if (path === undefined) throw new NodeError("MissingProgram", `the program "${name}" is not on this machine`);
  return path;
}

/** What a finished program said. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, at most 30 s unless said otherwise. Never rejects: a program that cannot be run has code 127. */
export function runCommand(
  file: string,
  args: readonly string[],
  input?: string,
  timeoutMs = 30_000,
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = execFile(
      file,
      [...args],
      { encoding: "utf8", timeout: timeoutMs, maxBuffer: 64 * 1024 * 1024, env: plainEnvironment },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === "number" ? error.code : 127;
        resolve({ code, stdout, stderr: stderr === "" && error !== null ? error.message : stderr });
      },
    );
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(input ?? "");
  });
}

/** Runs a short program and waits for it; for detection at start only. */
export function runCommandSync(file: string, args: readonly string[]): CommandResult {
  try {
    const stdout = execFileSync(file, [...args], {
      encoding: "utf8",
      timeout: 10_000,
      env: plainEnvironment,
      stdio: ["ignore", "pipe", "pipe"],
    });
    return { code: 0, stdout, stderr: "" };
  } catch (error) {
    return failureOf(error);
  }
}

function failureOf(error: unknown): CommandResult {
  if (typeof error !== "object" || error === null) return { code: 127, stdout: "", stderr: String(error) };
  const status = "status" in error && typeof error.status === "number" ? error.status : 127;
  const stderr = "stderr" in error && typeof error.stderr === "string" ? error.stderr.trim() : "";
  const message = "message" in error ? String(error.message) : "failed";
  return { code: status, stdout: "", stderr: stderr === "" ? message : stderr };
}

/** Environment of the helper programs: nothing of the caller's. */
export const plainEnvironment: Record<string, string> = { PATH: searchPath.join(":"), LANG: "C" };
