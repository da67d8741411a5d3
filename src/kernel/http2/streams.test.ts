import { expect, test } from "vitest";
import { Http2Stream, type StreamOutput } from "./stream.js";
import { LiveStreams } from "./streams.js";

const output: StreamOutput = {
  sendHeaders: () => undefined,
  sendData: (_, bytes) => bytes.length,
  sendReset: () => undefined,
  giveBack: () => undefined,
  forget: () => undefined,
  isWritable: true,
};
const streamOf = (id: number): Http2Stream => new Http2Stream(id, [["a", "b"]], output, { send: 1, receive: 1 });

test("streams are found by their numbers until they are deleted, in their order", () => {
  const streams = new LiveStreams();
  for (const id of [1, 5, 7, 9]) streams.add(streamOf(id));

  streams.delete(5);
  streams.delete(9);
  streams.delete(3);

  expect([1, 3, 5, 7, 9, 11].map((id) => streams.get(id)?.id)).toEqual([
    1,
    undefined,
    undefined,
    7,
    undefined,
    undefined,
  ]);
  expect(streams.all().map(({ id }) => id)).toEqual([1, 7]);
  expect(streams.size).toBe(2);
});
