import { once } from "node:events";
import { connect, type IncomingHttpHeaders } from "node:http2";
import { createServer } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { virtualClock } from "../../../kernel/clock/index.js";
import { createBodyBudget } from "../../../kernel/http1/index.js";
import type { GrpcMethod } from "./call.js";
import { Http2Front } from "./front.js";

const methods: Readonly<Record<string, GrpcMethod>> = {
  "/unary": { kind: "unary", handle: (message) => message },
  "/stream": { kind: "stream", handle: (messages) => messages },
};

test("a client that does not send its request to the end is given up in time, but for streams of calls", async () => {
  const clock = virtualClock();
  const ended: string[] = [];
  let begun = 0;
  const front = new Http2Front({
    clock,
    ...{ maxMessageBytes: 1000, chargeBody: createBodyBudget(10_000), tracer: undefined },
    findMethod: (path) => {
      begun++;
      return methods[path];
    },
    onFault: () => undefined,
    onEnd: (path, code) => void ended.push(`${path} ${code}`),
    answer: (stream) => {
      begun++;
      stream.onClose = () => void ended.push("plain");
    },
    ...{ bodyMs: 5000, idleMs: 60_000 },
  });
  onTestFinished(() => front.destroy());
  const server = createServer((socket) => socket.once("data", (first) => front.take(socket, first)));
  onTestFinished(() => void server.close());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const session = connect(`http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`);
  onTestFinished(() => session.destroy());
  const post = (path: string, type: string) => {
    const stream = session.request({ ":method": "POST", ":path": path, "content-type": type }, { endStream: false });
    stream.on("error", () => undefined);
    return stream;
  };
  const unary = post("/unary", "application/grpc");
  const trailers = new Promise<IncomingHttpHeaders>((resolve) => unary.once("response", resolve));
  const stream = post("/stream", "application/grpc");
  const plain = post("/plain", "application/json");
  while (begun < 3) await new Promise((resolve) => setImmediate(resolve));

  await clock.advance(4000);
  expect(ended).toEqual([]);
  await clock.advance(3000);

  expect(await trailers).toMatchObject({ "grpc-status": "4", "grpc-message": "the request did not arrive in time" });
  if (!plain.closed) await once(plain, "close");
  expect(ended).toEqual(["/unary 4", "plain"]);
  expect(stream.closed).toBe(false);
});
