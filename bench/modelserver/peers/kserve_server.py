# KServe's Python server with a model as its documentation shows it; no access log, no latency log.
# kserve_server.py MODEL HTTP_PORT GRPC_PORT
import logging
import sys

import onnxruntime as ort
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.utils.utils import generate_uuid

file, http_port, grpc_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


class Network(Model):
    def __init__(self, name: str):
        super().__init__(name)
        self.load()

    def load(self):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.outputs = self.session.get_outputs()
        self.ready = True
        return True

    async def predict(self, payload: InferRequest, headers=None, response_headers=None) -> InferResponse:
        feeds = {tensor.name: tensor.as_numpy() for tensor in payload.inputs}
        results = self.session.run(None, feeds)
        binary = payload.parameters is not None and bool(payload.parameters.get("binary_data_output", False))
        outputs = []
        for output, result in zip(self.outputs, results):
            tensor = InferOutput(name=output.name, shape=list(result.shape), datatype="FP32")
            tensor.set_data_from_numpy(result, binary_data=binary)
            outputs.append(tensor)
        return InferResponse(
            response_id=payload.id or generate_uuid(),
            model_name=self.name,
            infer_outputs=outputs,
            use_binary_outputs=binary,
        )


if __name__ == "__main__":
    server = ModelServer(
        http_port=http_port, grpc_port=grpc_port, workers=1, enable_latency_logging=False, enable_grpc=True, access_log_format=None
    )
    for name in ("uvicorn.access", "kserve.trace"):
        logging.getLogger(name).disabled = True
    server.start([Network("network")])
