/** A protobuf message under construction; fields are written in the order of the calls. */
export interface MessageWriter {
  /** A varint field; negative numbers take ten bytes, as int64 does. */
  varint(field: number, value: number | bigint): MessageWriter;
  /** A 32-bit float field. */
  float(field: number, value: number): MessageWriter;
  /** A length-delimited field: text, raw bytes or a message's bytes. */
  bytes(field: number, value: string | Uint8Array): MessageWriter;
  finish(): Uint8Array;
}

/** Writes protobuf's wire format (varint, 32-bit and length-delimited fields: all that ONNX needs). */
export function messageWriter(): MessageWriter {
  const chunks: Uint8Array[] = [];
  const writer: MessageWriter = {
    varint(field, value) {
      chunks.push(encodeVarint((BigInt(field) << 3n) | 0n), encodeVarint(BigInt(value)));
      return writer;
    },
    float(field, value) {
      const four = Buffer.alloc(4);
      four.writeFloatLE(value);
      chunks.push(encodeVarint((BigInt(field) << 3n) | 5n), four);
      return writer;
    },
    bytes(field, value) {
      const content = typeof value === "string" ? Buffer.from(value, "utf8") : value;
      chunks.push(encodeVarint((BigInt(field) << 3n) | 2n), encodeVarint(BigInt(content.length)), content);
      return writer;
    },
    finish: () => new Uint8Array(Buffer.concat(chunks)),
  };
  return writer;
}

function encodeVarint(value: bigint): Uint8Array {
  const out: number[] = [];
  let rest = BigInt.asUintN(64, value);
  while (rest > 127n) {
    out.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  out.push(Number(rest));
  return Uint8Array.from(out);
}
