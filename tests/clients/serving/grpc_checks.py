"""Plain grpcio: health, reflection, and calls by what reflection says."""

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def checks(port, grpc_port):
    channel = grpc.insecure_channel(f"127.0.0.1:{grpc_port}")

    def health():
        stub = health_pb2_grpc.HealthStub(channel)
        serving = health_pb2.HealthCheckResponse.SERVING
        assert stub.Check(health_pb2.HealthCheckRequest()).status == serving
        named = health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService")
        assert stub.Check(named).status == serving
        try:
            stub.Check(health_pb2.HealthCheckRequest(service="none"))
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND
        else:
            raise AssertionError("a service that is not there is healthy")
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == serving
        watch.cancel()

    def reflection():
        database = ProtoReflectionDescriptorDatabase(channel)
        services = list(database.get_services())
        assert "inference.GRPCInferenceService" in services and "grpc.health.v1.Health" in services, services
        pool = DescriptorPool(database)
        service = pool.FindServiceByName("inference.GRPCInferenceService")
        method = service.FindMethodByName("ModelInfer")
        ask, answer = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        request = ask(model_name="fp32")
        tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 2])
        tensor.contents.fp32_contents.extend([0.5, 2])
        request.parameters["note"].string_param = "x"
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=ask.SerializeToString,
            response_deserializer=answer.FromString,
        )
        got = call(request, timeout=20, compression=grpc.Compression.Gzip)
        assert list(got.outputs[0].contents.fp32_contents) == [0.5, 2], got

    def model_repository_package():
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        service = pool.FindServiceByName("inference.model_repository.ModelRepositoryService")
        method = service.FindMethodByName("RepositoryIndex")
        ask, answer = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        call = channel.unary_unary(
            f"/{service.full_name}/RepositoryIndex",
            request_serializer=ask.SerializeToString,
            response_deserializer=answer.FromString,
        )
        assert "fp32" in [model.name for model in call(ask()).models]

    def statuses():
        raw = lambda path: channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
        for path, message, code in (
            ("/inference.GRPCInferenceService/Dance", b"", grpc.StatusCode.UNIMPLEMENTED),
            ("/none/None", b"", grpc.StatusCode.UNIMPLEMENTED),
            ("/inference.GRPCInferenceService/ModelInfer", b"\xff\xff", grpc.StatusCode.INVALID_ARGUMENT),
            ("/inference.GRPCInferenceService/ModelInfer", b"", grpc.StatusCode.NOT_FOUND),
            ("/inference.GRPCInferenceService/ModelReady", b"\x0a\x04none", grpc.StatusCode.NOT_FOUND),
        ):
            try:
                raw(path)(message)
            except grpc.RpcError as error:
                assert error.code() == code, (path, error)
            else:
                raise AssertionError(path)

    return [health, reflection, model_repository_package, statuses]
