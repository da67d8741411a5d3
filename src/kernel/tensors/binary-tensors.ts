/** The binary tensor extension: raw little-endian tensors behind the JSON head. */
import { HttpError } from "../http1/index.js";
import type { Datatype, TensorData, TensorValue, TextData } from "./datatypes.js";
import { typeInfo } from "./datatypes.js";
import { textOrBytes } from "./json-tensors.js";

/** Reads a tensor of `count` elements that takes up exactly `bytes`. */
export function readBinaryData(
  bytes: Uint8Array,
  tensor: { name: string; datatype: Datatype; count: number },
): TensorData {
  const { name, datatype, count } = tensor;
  const info = typeInfo(datatype);
  if (info.bytes === 0) return readTexts(bytes, name, count);
  if (bytes.length !== count * info.bytes) {
    throw new HttpError(
      400,
      `input ${name}: ${bytes.length} bytes of binary data, but its shape needs ${count * info.bytes}`,
    );
  }
  if (datatype === "BOOL" && bytes.some((bit) => bit > 1))
    throw new HttpError(400, `input ${name}: BOOL bytes are 0 or 1`);
  if (bytes.byteOffset % info.bytes === 0) return info.view(bytes.buffer, bytes.byteOffset, count);
  return info.view(new Uint8Array(bytes).buffer, 0, count);
}

function readTexts(bytes: Uint8Array, name: string, count: number): TextData {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const texts: TextData = [];
  let at = 0;
  while (at < buffer.length) {
    if (at + 4 > buffer.length) throw new HttpError(400, `input ${name}: a length is cut short`);
    const length = buffer.readUInt32LE(at);
    at += 4;
    if (length > buffer.length - at)
      throw new HttpError(400, `input ${name}: element ${texts.length} runs past the tensor's end`);
    texts.push(textOrBytes(buffer.subarray(at, at + length)));
    at += length;
  }
  if (texts.length !== count)
    throw new HttpError(400, `input ${name}: ${texts.length} elements, but its shape needs ${count}`);
  return texts;
}

/** A tensor's raw form. */
export function writeBinaryData(tensor: TensorValue): Uint8Array {
  const { data } = tensor;
  if (!Array.isArray(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const parts: Uint8Array[] = [];
  for (const text of data) {
    const content = typeof text === "string" ? Buffer.from(text, "utf8") : text;
    const length = Buffer.alloc(4);
    length.writeUInt32LE(content.length);
    parts.push(length, content);
  }
  return Buffer.concat(parts);
}
