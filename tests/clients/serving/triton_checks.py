"""tritonclient over HTTP and gRPC, with its defaults: binary tensors in and out."""

import json
import queue

import numpy as np
import tritonclient.grpc as tgrpc
import tritonclient.http as thttp
from tritonclient.utils import InferenceServerException

TYPES = {
    "bool": np.array([[True, False]]),
    "int8": np.array([[-128, 127]], dtype=np.int8),
    "uint16": np.array([[0, 65535]], dtype=np.uint16),
    "int32": np.array([[-(2**31), 2**31 - 1]], dtype=np.int32),
    "uint64": np.array([[0, 2**64 - 1]], dtype=np.uint64),
    "int64": np.array([[-(2**63), 2**53 + 1]], dtype=np.int64),
    "fp16": np.array([[0.1, -65504]], dtype=np.float16),
    "fp32": np.array([[np.nan, 1e-45]], dtype=np.float32),
    "fp64": np.array([[0.1, 1e308]], dtype=np.float64),
    "bytes": np.array([["", "漢字 \"q\""]], dtype=object),
}
TRITON = {"bool": "BOOL", "bytes": "BYTES"}


def same(got, wanted):
    if wanted.dtype == object:
        got = np.vectorize(lambda item: item.decode() if isinstance(item, bytes) else item)(got)
        assert (got == wanted).all(), (got, wanted)
    else:
        np.testing.assert_array_equal(got, wanted)


def refused(call, words):
    try:
        call()
    except InferenceServerException as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"not refused: {words}")


def checks(port, grpc_port):
    http = thttp.InferenceServerClient(f"127.0.0.1:{port}", concurrency=4)
    # One port speaks everything.
    grpc = tgrpc.InferenceServerClient(f"127.0.0.1:{port}")
    second = tgrpc.InferenceServerClient(f"127.0.0.1:{grpc_port}")

    def inputs(library, name, array, datatype, **options):
        tensor = library.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array, **options)
        return tensor

    def http_health_and_metadata():
        assert http.is_server_live() and http.is_server_ready() and http.is_model_ready("fp32")
        assert not http.is_model_ready("none")
        assert "binary_tensor_data" in http.get_server_metadata()["extensions"]
        metadata = http.get_model_metadata("fp32")
        assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, -1]}], metadata
        config = http.get_model_config("fp32")
        assert config["name"] == "fp32" and config["input"][0]["data_type"] == "TYPE_FP32", config

    def http_every_datatype():
        for name, array in TYPES.items():
            datatype = TRITON.get(name, name.upper())
            for binary_in in (True, False):
                if name in ("fp16",) and not binary_in:
                    continue
                if name == "fp32" and not binary_in:
                    array = np.array([[0.5, -2]], dtype=np.float32)
                for binary_out in (True, False):
                    if name == "fp16" and not binary_out or name == "fp32" and binary_in and not binary_out:
                        continue
                    tensor = inputs(thttp, "x", array, datatype, binary_data=binary_in)
                    output = thttp.InferRequestedOutput("y", binary_data=binary_out)
                    same(http.infer(name, [tensor], outputs=[output], request_id="r-1").as_numpy("y"), array)
            result = http.infer(name, [inputs(thttp, "x", TYPES[name], datatype)])
            same(result.as_numpy("y"), TYPES[name])

    def http_bf16():
        refused(
            lambda: http.infer("fp32", [inputs(thttp, "x", np.zeros((1, 2), dtype=np.float32), "BF16")]),
            "BF16",
        )

    def http_compression():
        array = np.arange(4000, dtype=np.float32).reshape(1, 4000)
        for request in (None, "gzip", "deflate"):
            for answer in (None, "gzip", "deflate"):
                result = http.infer(
                    "fp32",
                    [inputs(thttp, "x", array, "FP32")],
                    request_compression_algorithm=request,
                    response_compression_algorithm=answer,
                )
                same(result.as_numpy("y"), array)

    def http_classification():
        array = np.array([[0.1, 0.7, 0.2]], dtype=np.float32)
        output = thttp.InferRequestedOutput("y", class_count=2)
        best = http.infer("fp32", [inputs(thttp, "x", array, "FP32")], outputs=[output]).as_numpy("y")
        assert [text.decode() for text in best[0]] == ["0.700000:1", "0.200000:2"], best

    def http_asynchronous():
        array = np.ones((1, 3), dtype=np.float32)
        pending = [http.async_infer("fp32", [inputs(thttp, "x", array * n, "FP32")]) for n in range(8)]
        for n, request in enumerate(pending):
            same(request.get_result().as_numpy("y"), array * n)

    def http_repository():
        index = {entry["name"]: entry["state"] for entry in http.get_model_repository_index()}
        assert index["fp32"] == "READY", index
        http.unload_model("int8")
        assert not http.is_model_ready("int8")
        http.load_model("int8")
        assert http.is_model_ready("int8")
        refused(lambda: http.load_model("none"), "none")
        http.load_model("int8", config=json.dumps({"max_batch_size": 5}))
        assert http.get_model_config("int8")["max_batch_size"] == 5
        http.load_model("int8")

    def http_statistics_and_settings():
        http.infer("fp32", [inputs(thttp, "x", np.ones((3, 1), dtype=np.float32), "FP32")])
        stats = http.get_inference_statistics("fp32")["model_stats"][0]
        assert stats["inference_count"] >= 3 and stats["inference_stats"]["success"]["count"] >= 1, stats
        assert http.update_log_settings({"log_verbose_level": 1})["log_verbose_level"] == 1
        assert http.update_log_settings({"log_verbose_level": 0})["log_verbose_level"] == 0
        assert http.get_trace_settings()["trace_level"] == ["OFF"]
        refused(lambda: http.update_trace_settings("fp32", {"trace_level": ["TIMESTAMPS"]}), "trace_level")

    def http_shared_memory():
        assert http.get_system_shared_memory_status() == []
        http.unregister_system_shared_memory()
        refused(lambda: http.register_system_shared_memory("r", "/key", 64), "shared memory is not offered")

    def http_errors():
        tensor = inputs(thttp, "x", np.ones((1, 2), dtype=np.float32), "FP32")
        refused(lambda: http.infer("none", [tensor]), "there is no model none")
        refused(lambda: http.infer("int8", [tensor]), "FP32")
        refused(lambda: http.infer("fp32", [tensor], outputs=[thttp.InferRequestedOutput("z")]), "no output")
        refused(lambda: http.infer("fp32", [tensor], model_version="9"), "no version 9")

    async def http_aio():
        import tritonclient.http.aio as aio

        async with aio.InferenceServerClient(f"127.0.0.1:{port}") as client:
            tensor = inputs(aio, "x", TYPES["fp64"], "FP64")
            same((await client.infer("fp64", [tensor])).as_numpy("y"), TYPES["fp64"])

    def grpc_health_and_metadata():
        for client in (grpc, second):
            assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("fp32")
        assert grpc.get_server_metadata().name == "argosy"
        metadata = grpc.get_model_metadata("fp32")
        assert list(metadata.inputs[0].shape) == [-1, -1] and metadata.inputs[0].datatype == "FP32"
        config = grpc.get_model_config("fp32", as_json=True)["config"]
        assert config["name"] == "fp32" and config["input"][0]["data_type"] == "TYPE_FP32", config

    def grpc_every_datatype():
        for name, array in TYPES.items():
            tensor = inputs(tgrpc, "x", array, TRITON.get(name, name.upper()))
            result = grpc.infer(name, [tensor], request_id="g-1", outputs=[tgrpc.InferRequestedOutput("y")])
            same(result.as_numpy("y"), array)
            assert result.get_response().id == "g-1"

    def grpc_compression():
        array = np.arange(4000, dtype=np.float32).reshape(1, 4000)
        for algorithm in (None, "gzip", "deflate"):
            result = grpc.infer("fp32", [inputs(tgrpc, "x", array, "FP32")], compression_algorithm=algorithm)
            same(result.as_numpy("y"), array)

    def grpc_asynchronous():
        results = queue.Queue()
        array = np.ones((1, 3), dtype=np.float32)
        for n in range(16):
            grpc.async_infer(
                "fp32",
                [inputs(tgrpc, "x", array * n, "FP32")],
                lambda result, error: results.put((result, error)),
                request_id=str(n),
            )
        for _ in range(16):
            result, error = results.get(timeout=20)
            assert error is None, error
            same(result.as_numpy("y"), array * int(result.get_response().id))

    def grpc_streaming():
        results = queue.Queue()
        array = np.ones((1, 3), dtype=np.float32)
        client = tgrpc.InferenceServerClient(f"127.0.0.1:{port}")
        client.start_stream(lambda result, error: results.put((result, error)))
        for n in range(5):
            client.async_stream_infer("fp32", [inputs(tgrpc, "x", array * n, "FP32")], request_id=str(n))
        client.async_stream_infer("none", [inputs(tgrpc, "x", array, "FP32")])
        client.async_stream_infer("fp32", [inputs(tgrpc, "x", array, "FP32")], request_id="last", enable_empty_final_response=True)
        for n in range(5):
            result, error = results.get(timeout=20)
            assert error is None, error
            same(result.as_numpy("y"), array * n)
        _, error = results.get(timeout=20)
        assert "there is no model none" in str(error), error
        last = results.get(timeout=20)[0].get_response()
        assert last.id == "last" and last.parameters["triton_final_response"].bool_param, last
        client.stop_stream()

    def grpc_repository_and_statistics():
        index = {entry.name: entry.state for entry in grpc.get_model_repository_index().models}
        assert index["fp32"] == "READY", index
        grpc.unload_model("uint16")
        assert not grpc.is_model_ready("uint16")
        grpc.load_model("uint16")
        assert grpc.is_model_ready("uint16")
        grpc.load_model("uint16", config=json.dumps({"max_batch_size": 5}))
        assert grpc.get_model_config("uint16").config.max_batch_size == 5
        grpc.load_model("uint16")
        stats = grpc.get_inference_statistics("fp32").model_stats[0]
        assert stats.inference_stats.success.count >= 1
        assert grpc.update_log_settings({"log_verbose_level": 0}, as_json=True)["settings"]["log_verbose_level"]
        assert grpc.get_trace_settings(as_json=True)["settings"]["trace_level"]["value"] == ["OFF"]
        assert len(grpc.get_system_shared_memory_status().regions) == 0
        refused(lambda: grpc.register_system_shared_memory("r", "/key", 64), "shared memory is not offered")

    def grpc_errors():
        tensor = inputs(tgrpc, "x", np.ones((1, 2), dtype=np.float32), "FP32")
        refused(lambda: grpc.infer("none", [tensor]), "NOT_FOUND")
        refused(lambda: grpc.infer("int8", [tensor]), "INVALID_ARGUMENT")

    async def grpc_aio():
        import tritonclient.grpc.aio as aio

        async with aio.InferenceServerClient(f"127.0.0.1:{grpc_port}") as client:
            tensor = inputs(aio, "x", TYPES["int64"], "INT64")
            same((await client.infer("int64", [tensor])).as_numpy("y"), TYPES["int64"])

    return [
        http_health_and_metadata, http_every_datatype, http_bf16, http_compression, http_classification,
        http_asynchronous, http_repository, http_statistics_and_settings, http_shared_memory, http_errors, http_aio,
        grpc_health_and_metadata, grpc_every_datatype, grpc_compression, grpc_asynchronous, grpc_streaming,
        grpc_repository_and_statistics, grpc_errors, grpc_aio,
    ]
