import { InputError } from "../../../kernel/errors/index.js";

/** One field as it stands on the wire: a number, or bytes. */
export interface WireField {
  readonly number: number;
  readonly value: bigint | Uint8Array;
}

/** Reads protobuf's wire format (fields of one message, in order). Throws `InputError` on anything malformed. */
export function* readFields(bytes: Uint8Array): Generator<WireField> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const varint = (): bigint => {
    let result = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at];
      if (byte === undefined) break;
      at += 1;
      result |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(64, result);
    }
    throw malformed();
  };
  const take = (length: number): Uint8Array => {
    if (length < 0 || at + length > bytes.byteLength) throw malformed();
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.byteLength) {
    const tag = Number(varint());
    const number = tag >>> 3;
    if (number === 0) throw malformed();
    switch (tag & 7) {
      case 0:
        yield { number, value: varint() };
        break;
      case 1:
        yield { number, value: view.getBigInt64(advance(take, 8, at), true) };
        break;
      case 2:
        yield { number, value: take(Number(varint())) };
        break;
      case 5:
        yield { number, value: BigInt(view.getInt32(advance(take, 4, at), true)) };
        break;
      default:
        throw malformed();
    }
  }
}

/** Takes bytes and says where they began. */
function advance(take: (length: number) => Uint8Array, length: number, start: number): number {
  take(length);
  return start;
}

function malformed(): InputError {
  return new InputError("the protobuf body is cut off or malformed");
}
