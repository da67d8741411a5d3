import { request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import type { Json, JsonObject } from "../../../../kernel/kinds/object.js";
import { isObject } from "../../../../kernel/schema/index.js";
import { NodeError } from "../../errors.js";

const base = "/v4.0.0/libpod";
const timeoutMs = 120_000;
const maxAnswerBytes = 16 * 1024 * 1024;

interface Question {
  readonly method: string;
  readonly path: string;
  readonly body?: Json | undefined;
}

/** Asks podman's API on a socket; `undefined` for 404, `{}` where it answers with anything but an object. Throws a `NodeError` with podman's words. */
export async function ask(socket: string, question: Question): Promise<JsonObject | undefined> {
  const { status, text } = await exchange(socket, question);
  const answer = parse(text);
  if (status === 404) return undefined;
  if (status < 400) return isObject(answer) ? answer : { items: answer };
  const message = isObject(answer) && typeof answer["message"] === "string" ? answer["message"] : `answer ${status}`;
  throw new NodeError("PodmanFailed", message);
}

function exchange(socket: string, { method, path, body }: Question): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const content = body === undefined ? "" : JSON.stringify(body);
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(content) };
    const request = httpRequest(
      { socketPath: socket, path: `${base}${path}`, method, headers, agent: false, timeout: timeoutMs },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => {
          text += chunk;
          if (text.length > maxAnswerBytes)
            request.destroy(new NodeError("PodmanFailed", "podman's answer is too long"));
        });
        response.on("error", reject);
        response.on("end", () => resolve({ status: response.statusCode ?? 500, text }));
      },
    );
    request.on("timeout", () =>
      request.destroy(new NodeError("PodmanFailed", `podman did not answer within ${timeoutMs / 1000} s`)),
    );
    request.on("error", reject);
    request.end(content);
  });
}

function parse(text: string): Json {
  try {
    const value: Json = JSON.parse(text);
    return value;
  } catch {
    return null;
  }
}

/** Whether somebody listens on the socket. */
export function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.on("connect", () => {
      connection.destroy();
      resolve(true);
    });
    connection.on("error", () => resolve(false));
  });
}

/** Whether an error says that nobody listens on the socket any more. */
export function isGone(error: unknown): boolean {
  return (
    error instanceof Error && "code" in error && ["ECONNREFUSED", "ENOENT", "ECONNRESET"].includes(String(error.code))
  );
}

/** A request whose connection becomes a container's stream. */
export function openStream(socket: string, path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      socketPath: socket,
      path: `${base}${path}`,
      method: "POST",
      headers: { connection: "Upgrade", upgrade: "tcp" },
      agent: false,
    });
    request.on("upgrade", (_response, connection) => resolve(connection));
    request.on("response", (response) => {
      response.resume();
      reject(new NodeError("PodmanFailed", `podman opens no stream: answer ${response.statusCode ?? 0}`));
    });
    request.on("error", reject);
    request.end();
  });
}
