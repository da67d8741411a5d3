import { type ChildProcess, spawn } from "node:child_process";
import { Socket as DatagramSocket } from "node:dgram";
import { existsSync } from "node:fs";
import { Server, Socket } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../assets/index.js";
import { ArgosyError } from "../errors/index.js";
import { parseAnswer, type SocketRequest } from "./protocol.js";

type Handed = Socket | Server | DatagramSocket | undefined;

interface Waiting {
  resolve(handed: Handed): void;
  reject(error: Error): void;
}

/** A small heap: the helper holds no data, it only makes sockets. */
const nodeFlags = ["--max-old-space-size=16", "--max-semi-space-size=1"];
/** Environment of the helper: nothing of the caller's. */
const environment = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin", LANG: "C" };

/**
 * Makes sockets in another network namespace for this process, through a helper that runs there: the sockets are handed over
 * once and then belong to this process, so no byte takes a detour. The helper starts with the first request, again when it
 * was lost, and anew when the way into the namespace changes.
 */
export class SocketMaker {
  readonly #enter: () => readonly string[];
  readonly #waiting = new Map<number, Waiting>();
  #helper: { readonly child: ChildProcess; readonly way: string } | undefined;
  #last = 0;
  #isClosed = false;

  /** `enter` names the command that runs another one in the namespace, `["nsenter", "--net=…", "--"]`; asked at each request. */
  constructor(enter: () => readonly string[]) {
    this.#enter = enter;
  }

  /** Connects from inside the namespace. Rejects with an `ArgosyError` whose code is the system's (`ECONNREFUSED`). */
  async connect(host: string, port: number): Promise<Socket> {
    const handed = await this.#ask("connect", host, port);
    // A connection that was reset on its way here comes without a socket.
    if (!(handed instanceof Socket)) throw new ArgosyError("ECONNRESET", `connect ECONNRESET ${host}:${port}`);
    handed.setNoDelay(true);
    return handed;
  }

  /** Lets a server of this process accept connections to an address of the namespace. Rejects as `connect` does. */
  async listen(server: Server, host: string, port: number): Promise<void> {
    const handed = await this.#ask("listen", host, port);
    if (!(handed instanceof Server)) throw new ArgosyError("EFAILED", `listen ${host}:${port}: no socket came`);
    // Takes the socket over from the server that it came in.
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(handed, () => {
        server.off("error", reject);
        resolve();
      });
    });
  }

  /** A datagram socket bound to an address of the namespace. Rejects as `connect` does. */
  async bindDatagrams(host: string, port: number): Promise<DatagramSocket> {
    const handed = await this.#ask("datagrams", host, port);
    if (!(handed instanceof DatagramSocket)) throw new ArgosyError("EFAILED", `bind ${host}:${port}: no socket came`);
    return handed;
  }

  /** Ends the helper until it is needed again: for makers that are asked once in a while. */
  rest(): void {
    if (this.#waiting.size === 0) this.#drop("nobody waits");
  }

  /** Ends the helper; sockets that were handed over stay. */
  close(): void {
    this.#isClosed = true;
    this.#drop("the way into the namespace was closed");
  }

  #ask(kind: SocketRequest["kind"], host: string, port: number): Promise<Handed> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) throw new ArgosyError("EFAILED", "the way into the namespace is closed");
      const { child } = this.#ensure();
      this.#last += 1;
      const request: SocketRequest = { id: this.#last, kind, host, port };
      this.#waiting.set(request.id, { resolve, reject });
      // A helper that cannot be written to has ended, or is made to: its last words say why, to all who wait.
      child.send(request, (error) => {
        if (error !== null) child.kill();
      });
    });
  }

  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    return waiting;
  }

  #ensure(): { readonly child: ChildProcess } {
    const enter = this.#enter();
    const way = enter.join(" ");
    if (this.#helper?.way === way) return this.#helper;
    this.#drop("the namespace is another one by now");
    // `env` with no words of its own: the way may be empty.
    const words = [...enter, process.execPath, ...nodeFlags, helperFile()];
    const child = spawn("env", words, { cwd: "/", env: environment, stdio: ["ignore", "ignore", "pipe", "ipc"] });
    const helper = { child, way };
    this.#helper = helper;
    let said = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      said = `${said}${text}`.slice(-500);
    });
    const lost = (cause: string): void => {
      if (this.#helper === helper) this.#drop(cause);
    };
    child.on("error", (error) => lost(error.message));
    child.on("close", () => lost(said.trim() === "" ? "the helper ended" : said.trim()));
    child.on("message", (message: unknown, handed: Handed) => this.#answered(message, handed));
    // Whoever waits for nothing but this helper may end.
    child.unref();
    child.channel?.unref();
    return helper;
  }

  #answered(message: unknown, handed: Handed): void {
    const answer = parseAnswer(message);
    const waiting = answer === undefined ? undefined : this.#settle(answer.id);
    if (answer === undefined || waiting === undefined) {
      if (handed instanceof Socket) handed.destroy();
      else handed?.close();
    } else if (answer.code === undefined) waiting.resolve(handed);
    else waiting.reject(new ArgosyError(answer.code, answer.message ?? answer.code));
  }

  #drop(cause: string): void {
    const child = this.#helper?.child;
    this.#helper = undefined;
    if (child?.connected === true) child.disconnect();
    for (const waiting of this.#waiting.values()) {
      waiting.reject(new ArgosyError("ENETUNREACH", `the network namespace cannot be entered: ${cause}`));
    }
    this.#waiting.clear();
  }
}

/** The compiled helper: beside this file, or in `dist` when this file runs from its source. */
function helperFile(): string {
  const beside = fileURLToPath(new URL("./main.js", import.meta.url));
  return existsSync(beside) ? beside : join(packageRoot(), "dist", "src", "kernel", "netns", "main.js");
}
