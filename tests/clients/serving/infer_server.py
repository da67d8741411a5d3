"""A server of others that answers with what it was asked, by V2 over gRPC; says `ready PORT` once it listens."""

import asyncio
import socket
import sys
import threading

import grpc


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def say_when_ready(port):
    def wait():
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=120)
        print(f"ready {port}", flush=True)

    threading.Thread(target=wait, daemon=True).start()


def serve_kserve(http_port, grpc_port):
    from kserve import InferOutput, InferResponse, Model, ModelServer

    class Echo(Model):
        """`raw` answers with raw contents, the other with typed ones."""

        def __init__(self, name):
            super().__init__(name)
            self.ready = True

        async def predict(self, payload, headers=None, response_headers=None):
            outputs = []
            for given in payload.inputs:
                output = InferOutput(name=given.name, shape=given.shape, datatype=given.datatype)
                output.set_data_from_numpy(given.as_numpy(), binary_data=self.name == "raw")
                outputs.append(output)
            sent = (headers or {}).get("x-user", "")
            return InferResponse(response_id=payload.id, model_name=self.name, infer_outputs=outputs, parameters={"user": sent})

    ModelServer(http_port=http_port, grpc_port=grpc_port, enable_grpc=True, workers=1).start([Echo("typed"), Echo("raw")])



def serve_mlserver(http_port, grpc_port):
    from mlserver import MLServer, ModelSettings, Settings

    settings = Settings(host="127.0.0.1", http_port=http_port, grpc_port=grpc_port, metrics_port=free_port(), parallel_workers=0)
    asyncio.run(MLServer(settings).start([ModelSettings(name="raw", implementation="mlserver_echo.Echo")]))


port = free_port()
say_when_ready(port)
{"kserve": serve_kserve, "mlserver": serve_mlserver}[sys.argv[1]](free_port(), port)
