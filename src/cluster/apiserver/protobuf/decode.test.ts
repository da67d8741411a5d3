import { expect, test } from "vitest";
import { decodeProtobuf } from "./decode.js";

type Part = readonly [number, string | Part[] | number];

/** Writes a message by hand: text and nested messages as bytes, numbers as varints. */
function encode(parts: readonly Part[]): Buffer {
  return Buffer.concat(
    parts.map(([number, value]) => {
      if (typeof value === "number") return Buffer.from([number << 3, value]);
      const bytes = typeof value === "string" ? Buffer.from(value) : encode(value);
      return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
    }),
  );
}

const envelope = (apiVersion: string, kind: string, parts: readonly Part[]): Buffer =>
  Buffer.concat([
    Buffer.from("k8s\0"),
    encode([
      [
        1,
        [
          [1, apiVersion],
          [2, kind],
        ],
      ],
    ]),
    Buffer.from([0x12, encode(parts).length]),
    encode(parts),
  ]);

test("reads what kubectl create deployment sends: pointers to zero stay, empty values go, inlined members join their parent", () => {
  const body = envelope("apps/v1", "Deployment", [
    [
      1,
      [
        [1, "web"],
        [8, ""],
        [
          11,
          [
            [1, "app"],
            [2, "web"],
          ],
        ],
      ],
    ],
    [
      2,
      [
        [1, 0],
        [
          2,
          [
            [
              1,
              [
                [1, "app"],
                [2, "web"],
              ],
            ],
          ],
        ],
        [
          3,
          [
            [
              2,
              [
                [
                  1,
                  [
                    [1, "v"],
                    [2, [[2, [[1, ""]]]]],
                  ],
                ],
              ],
            ],
          ],
        ],
        [5, 0],
      ],
    ],
    [3, []],
  ]);

  expect(decodeProtobuf(body)).toEqual({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web", labels: { app: "web" } },
    spec: {
      replicas: 0,
      selector: { matchLabels: { app: "web" } },
      template: { spec: { volumes: [{ name: "v", emptyDir: {} }] } },
    },
  });
});

test("finds options of the meta group under any group", () => {
  expect(decodeProtobuf(envelope("apps/v1", "DeleteOptions", [[4, "Foreground"]]))).toMatchObject({
    propagationPolicy: "Foreground",
  });
});

test.each([
  ["cut off", Buffer.concat([Buffer.from("k8s\0"), Buffer.from([0x0a, 0x7f])]), /cut off/],
  ["another format", Buffer.from("{}"), /does not begin/],
  ["a kind without protobuf", envelope("tensorstack.dev/v1beta1", "MLService", []), /no protobuf form; send JSON/],
  ["a text where a number stands", envelope("apps/v1", "Deployment", [[2, [[1, "x"]]]]), /another type/],
])("refuses %s", (_, body, message) => {
  expect(() => decodeProtobuf(body)).toThrow(message);
});
