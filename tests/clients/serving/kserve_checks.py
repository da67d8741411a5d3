"""KServe's SDK: its inference clients for REST (V1, V2, binary) and gRPC."""

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput


def request(name, values, datatype, binary=False, raw=None):
    tensor = InferInput("x", list(np.shape(values)), datatype)
    if raw is None:
        raw = binary
    tensor.set_data_from_numpy(np.array(values), binary_data=raw)
    outputs = [RequestedOutput("y", parameters={"binary_data": True})] if binary else None
    return InferRequest(model_name=name, infer_inputs=[tensor], request_id="k-1", request_outputs=outputs)


def values_of(response):
    return response.outputs[0].as_numpy()


def checks(port, grpc_port):
    url = f"http://127.0.0.1:{port}"

    async def rest_health():
        for protocol in ("v1", "v2"):
            client = InferenceRESTClient(RESTConfig(protocol=protocol))
            if protocol == "v2":
                assert await client.is_server_live(url) and await client.is_server_ready(url)
            assert await client.is_model_ready(url, "fp32")
            await client.close()

    async def rest_v1():
        client = InferenceRESTClient(RESTConfig(protocol="v1"))
        answer = await client.infer(url, {"instances": [[1, 2], [3, 4]]}, model_name="fp32")
        assert answer["predictions"] == [[1, 2], [3, 4]], answer
        await client.close()

    async def rest_v2():
        client = InferenceRESTClient(RESTConfig(protocol="v2"))
        array = np.array([[0.5, -2]], dtype=np.float32)
        for binary in (False, True):
            answer = await client.infer(url, request("fp32", array, "FP32", binary), model_name="fp32")
            np.testing.assert_array_equal(values_of(answer), array)
            assert answer.id == "k-1"
        await client.close()

    async def rest_64_bit():
        client = InferenceRESTClient(RESTConfig(protocol="v2"))
        large = np.array([[2**63 - 1, -(2**63)]], dtype=np.int64)
        answer = await client.infer(url, request("int64", large, "INT64"), model_name="int64")
        np.testing.assert_array_equal(values_of(answer), large)
        await client.close()

    async def grpc_calls():
        client = InferenceGRPCClient(f"127.0.0.1:{grpc_port}")
        assert await client.is_server_live() and await client.is_server_ready() and await client.is_model_ready("fp32")
        array = np.array([[0.5, -2]], dtype=np.float32)
        for raw in (False, True):
            answer = await client.infer(request("fp32", array, "FP32", raw=raw))
            np.testing.assert_array_equal(values_of(answer).reshape(array.shape), array)
        await client.close()

    return [rest_health, rest_v1, rest_v2, rest_64_bit, grpc_calls]
