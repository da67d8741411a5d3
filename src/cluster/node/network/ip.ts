/**
 * Runs `ip` for many at once. Starting a program costs a large process like ours some milliseconds in which nothing else happens, so
 * what is asked for in one turn of the event loop shares one small shell, which starts `ip` as often as there are namespaces.
 */
import { requireProgram, runCommand } from "../commands.js";
import { NodeError, shellQuote } from "../errors.js";

/** Lines of `ip -batch`: the first that fails ends them. */
export interface IpStep {
  readonly lines: readonly string[];
  /** A named network namespace; absent: the machine's. */
  readonly namespace?: string;
}

interface Asked {
  readonly steps: readonly IpStep[];
  readonly resolve: (printed: string) => void;
  readonly reject: (error: unknown) => void;
}

let asked: Asked[] = [];

/** Runs steps one after the other, up to the first that fails; resolves with what they print. Rejects with a `NodeError`. */
export function runIp(...steps: readonly IpStep[]): Promise<string> {
  return new Promise((resolve, reject) => {
    // Addresses come from objects that others write: a line is one line, whatever is in it.
    const odd = steps.flatMap(({ lines }) => lines).find((line) => /[\0\n\r]/.test(line) || line === ".");
    if (odd !== undefined) {
      reject(new NodeError("NetworkFailed", `ip ${JSON.stringify(odd)} is no line of a batch`));
      return;
    }
    asked.push({ steps, resolve, reject });
    if (asked.length > 1) return;
    setImmediate(() => {
      const all = asked;
      asked = [];
      runAll(all).catch((error: unknown) => {
        for (const each of all) each.reject(error);
      });
    });
  });
}

/** Between the outputs of two, on both streams. */
const MARK = "\n@@";

async function runAll(all: readonly Asked[]): Promise<void> {
  const ip = requireProgram("ip");
  const script = all.map(({ steps }) => `${commandOf(ip, steps)}printf '\\n@@%s\\n' $?; printf '\\n@@\\n' >&2\n`);
  const { code, stdout, stderr } = await runCommand("/bin/sh", ["-s"], script.join(""));
  const [printed, complaints] = [stdout.split(MARK), stderr.split(MARK)];
  for (const [index, { steps, resolve, reject }] of all.entries()) {
    const status = /^\d+/.exec(printed[index + 1] ?? "")?.[0];
    const text = withoutStatus(printed[index] ?? "", index);
    if (status === "0") resolve(text);
    else {
      const lines = steps.flatMap((step) => step.lines).join("; ");
      const why = withoutStatus(complaints[index] ?? "", index).trim() || `the shell ended with ${code}`;
      reject(new NodeError("NetworkFailed", `ip ${lines}: ${why}`));
    }
  }
}

/** What follows a mark begins with the status of what came before it. */
function withoutStatus(text: string, index: number): string {
  return index === 0 ? text : text.slice(text.indexOf("\n") + 1);
}

function commandOf(ip: string, steps: readonly IpStep[]): string {
  const commands = steps.map(({ namespace }) => {
    const where = namespace === undefined ? "" : ` -n ${shellQuote(namespace)}`;
    return `${ip}${where} -batch - <<'.'`;
  });
  const contents = steps.map(({ lines }) => `${lines.join("\n")}\n.\n`);
  return `${commands.join(" && ")}\n${contents.join("")}`;
}
