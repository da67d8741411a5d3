import { spawn } from "node:child_process";
import { connect } from "node:net";
import { Duplex } from "node:stream";
import { plainEnvironment, requireProgram } from "../commands.js";
import { NodeError } from "../errors.js";
import type { SandboxRecord } from "./types.js";

/** Connects to a port of a pod at its address; failing that, at the loopback of its network namespace. */
export async function dialPod(
  pod: SandboxRecord,
  port: number,
  namespaceOf: () => Promise<string | undefined>,
): Promise<Duplex> {
  const direct = await connectTo(pod.ip, port);
  if (direct !== undefined) return direct;
  const namespacePath = pod.hostNetwork ? undefined : await namespaceOf();
  if (namespacePath !== undefined) return dialInNamespace(namespacePath, port);
  const name = `${pod.namespace}/${pod.name}`;
  throw new NodeError("ConnectionRefused", `nothing listens on port ${port} of pod ${name} (${pod.ip})`);
}

function connectTo(host: string, port: number): Promise<Duplex | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once("connect", () => {
      socket.removeAllListeners("error");
      resolve(socket);
    });
    socket.once("error", () => resolve(undefined));
  });
}

const dialProgram = `
const s = require("node:net").connect(Number(process.argv[1]), "127.0.0.1");
s.on("error", (e) => { process.stderr.write(e.message); process.exit(1); });
s.on("connect", () => { process.stderr.write("ok"); process.stdin.pipe(s); s.pipe(process.stdout); });
s.on("close", () => process.exit(0));
`;

/** Connects to a port that a program has bound to the loopback of its pod: through a small process in its namespace. */
function dialInNamespace(namespacePath: string, port: number): Promise<Duplex> {
  const args = [`--net=${namespacePath}`, "--", process.execPath, "-e", dialProgram, String(port)];
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
