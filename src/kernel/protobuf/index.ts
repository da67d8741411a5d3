/** Protobuf's wire format. In: bytes of messages. Out: their fields, one after the other; and back. May use: http1, for refusals. */

export { BYTES, FIXED32, FIXED64, VARINT, WireReader, WireWriter } from "./wire.js";
