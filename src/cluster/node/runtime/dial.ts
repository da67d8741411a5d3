import { spawn } from "node:child_process";
import { Duplex } from "node:stream";
import type { Connect } from "../../../kernel/netns/index.js";
import { plainEnvironment, requireProgram } from "../commands.js";
import { NodeError } from "../errors.js";
import type { SandboxRecord } from "./types.js";

/** The ways to a pod. */
export interface PodWays {
  readonly connect: Connect;
  /** The command that runs another one in its network; empty where that is the machine's. */
  enter(): Promise<readonly string[]>;
}

/** Connects to a port of a pod at its address; failing that, at the loopback of its network namespace. */
export async function dialPod(pod: SandboxRecord, port: number, ways: PodWays): Promise<Duplex> {
  const direct = await ways.connect(pod.ip, port).catch(() => undefined);
  if (direct !== undefined) {
    direct.allowHalfOpen = false;
    return direct;
  }
  const enter = await ways.enter();
  if (enter.length > 0) return dialInNamespace(enter, port);
  const name = `${pod.namespace}/${pod.name}`;
  throw new NodeError("ConnectionRefused", `nothing listens on port ${port} of pod ${name} (${pod.ip})`);
}

const dialProgram = `
const s = require("node:net").connect(Number(process.argv[1]), "127.0.0.1");
s.on("error", (e) => { process.stderr.write(e.message); process.exit(1); });
s.on("connect", () => { process.stderr.write("ok"); process.stdin.pipe(s); s.pipe(process.stdout); });
s.on("close", () => process.exit(0));
`;

/** Connects to a port that a program has bound to the loopback of its pod: through a small process in its namespace. */
function dialInNamespace(enter: readonly string[], port: number): Promise<Duplex> {
  const args = [...enter.slice(1), process.execPath, "-e", dialProgram, String(port)];
  const child = spawn(requireProgram("nsenter"), args, {
    cwd: "/",
    env: plainEnvironment,
    stdio: ["pipe", "pipe", "pipe"],
  });
  return new Promise((resolve, reject) => {
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString("utf8");
      if (said === "ok") resolve(Duplex.from({ readable: child.stdout, writable: child.stdin }));
    });
    child.on("error", (error) =>
      reject(new NodeError("ConnectionRefused", "the pod's network cannot be entered", { cause: error })),
    );
    child.on("close", () =>
      reject(new NodeError("ConnectionRefused", `nothing listens on port ${port} of the pod: ${said}`)),
    );
  });
}
