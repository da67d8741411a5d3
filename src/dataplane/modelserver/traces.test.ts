import { createServer } from "node:http";
import { expect, test } from "vitest";
import { readTraceparent } from "../../kernel/traces/index.js";
import { call, callGrpc, serveProtocols } from "./protocols.fixture.js";
import { identityModel } from "./text/letters.fixture.js";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const PARENT = "b7ad6b7169203331";

test("sampled requests become spans at the collector, others do not; a collector that is away is not in the way", async () => {
  const bodies: string[] = [];
  const collector = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += String(chunk)));
    request.on("end", () => {
      bodies.push(body);
      response.end("{}");
    });
  });
  await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
  const address = collector.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const files = { "m/1/model.onnx": identityModel("FP32") };
  const server = await serveProtocols({ otlpEndpoint: `http://127.0.0.1:${port}/v1/traces` }, files);
  const request = { inputs: [{ name: "x", datatype: "FP32", shape: [1, 1], data: [1] }] };
  const url = `${server.url}/v2/models/m/infer`;

  await call(url, request, { traceparent: `00-${TRACE}-${PARENT}-01` });
  await call(url, request, { traceparent: `00-${TRACE}-${PARENT}-00` });
  await call(url, request);
  await call(`${server.url}/v2/models/none/infer`, request, { traceparent: `00-${TRACE}-${PARENT}-01` });
  await callGrpc(server.port, "ServerLive", [{}], { traceparent: `00-${TRACE}-${PARENT}-01` });
  await server.stop();
  await new Promise((resolve) => collector.close(resolve));
  const away = await serveProtocols({ otlpEndpoint: `http://127.0.0.1:${port}/v1/traces` }, files);
  const answer = await call(`${away.url}/v2/models/m/infer`, request, { traceparent: `00-${TRACE}-${PARENT}-01` });
  await away.stop();

  const spans = bodies.flatMap((body) => JSON.parse(body).resourceSpans[0].scopeSpans[0].spans);
  expect(spans.map(({ name }) => name)).toEqual([
    "POST /v2/models/{model_name}/infer",
    "POST /v2/models/{model_name}/infer",
    "inference.GRPCInferenceService/ServerLive",
  ]);
  for (const span of spans) expect(span).toMatchObject({ traceId: TRACE, parentSpanId: PARENT, kind: 2 });
  expect(spans[1].attributes).toContainEqual({ key: "http.response.status_code", value: { intValue: "404" } });
  expect(BigInt(spans[0].endTimeUnixNano) >= BigInt(spans[0].startTimeUnixNano)).toBe(true);
  expect(answer.status).toBe(200);
});

test.each([
  [`00-${TRACE}-${PARENT}-01`, true],
  [`cc-${TRACE}-${PARENT}-01-what-comes-later`, true],
  [`00-${TRACE}-${PARENT}-00`, false],
  [`00-${TRACE}-${PARENT}-01-more`, false],
  [`ff-${TRACE}-${PARENT}-01`, false],
  [`00-${"0".repeat(32)}-${PARENT}-01`, false],
  [`00-${TRACE.toUpperCase()}-${PARENT}-01`, false],
  ["", false],
])("traceparent %s is recorded: %s", (value, recorded) => {
  expect(readTraceparent(value) !== undefined).toBe(recorded);
});
