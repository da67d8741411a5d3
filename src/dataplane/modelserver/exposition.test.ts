import { expect, test } from "vitest";
import { createMetrics } from "./metrics.js";

test("the page has Argosy's, KServe's and MLServer's names; buckets count what is at most their bound", () => {
  const metrics = createMetrics();
  const [one, two] = [metrics.of('a"b', "1"), metrics.of('a"b', "2")];
  one.answered(1, 3, 0.1, 5);
  two.answered(1, 300, 0.1, 6);
  two.refused(2);
  metrics.response(200, "POST", "/v2/models/{model_name}/infer");
  metrics.call("/inference.GRPCInferenceService/ModelInfer", "OK");
  const lines = metrics.render({ models_ready: { help: "x", value: 2 } }).split("\n");

  for (const line of [
    'argosy_modelserver_inferences_total{model="a\\"b",version="1"} 1',
    'request_predict_seconds_bucket{model_name="a\\"b",le="0.0025"} 0',
    'request_predict_seconds_bucket{model_name="a\\"b",le="0.005"} 1',
    'request_predict_seconds_bucket{model_name="a\\"b",le="0.5"} 2',
    'request_predict_seconds_bucket{model_name="a\\"b",le="+Inf"} 2',
    'request_predict_seconds_count{model_name="a\\"b"} 2',
    'model_infer_request_success_total{model="a\\"b",version="2"} 1',
    'model_infer_request_failure_total{model="a\\"b",version="2"} 1',
    'rest_server_requests_total{method="POST",path="/v2/models/{model_name}/infer",status_code="200"} 1',
    'grpc_server_handled_total{grpc_type="UNARY",grpc_service="inference.GRPCInferenceService",grpc_method="ModelInfer",grpc_code="OK"} 1',
    "argosy_modelserver_models_ready 2",
  ])
    expect(lines).toContain(line);
  expect(new Set(lines.filter((line) => line.startsWith("# TYPE"))).size).toBe(
    lines.filter((line) => line.startsWith("# TYPE")).length,
  );
});
