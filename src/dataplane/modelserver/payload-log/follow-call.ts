/** Following the server's own gRPC calls. */
import { HttpError } from "../../../kernel/http1/index.js";
import type { CallContext } from "../grpc/call.js";
import { FRAME_HEAD } from "../grpc/frame-head.js";
import { statusOf } from "../grpc/status.js";
import type { PayloadLog } from "./log.js";

const PROTOBUF = "application/x-protobuf";

/** Follows one message and its answer; the messages' own names are in the media type. */
export async function followCall(
  log: PayloadLog | undefined,
  { message, call, types }: { message: Buffer; call: CallContext; types: { request: string; response: string } },
  answer: () => Promise<Buffer>,
): Promise<Buffer> {
  if (log === undefined) return answer();
  const exchange = log.begin((name) => call.metadata(name));
  exchange.request({ body: message, type: `${PROTOBUF};messageType=${types.request}`, coding: undefined });
  const type = `${PROTOBUF};messageType=${types.response}`;
  try {
    const made = await answer();
    exchange.response({ body: made.subarray(FRAME_HEAD), type, coding: undefined }, { grpc: 0 });
    return made;
  } catch (error) {
    const { code, message: words } = statusOf(error);
    const said = error instanceof HttpError ? words : "internal error";
    exchange.response({ body: said, type: "text/plain", coding: undefined }, { grpc: code });
    throw error;
  }
}
