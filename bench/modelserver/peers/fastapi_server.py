# The honest "best simple Python": FastAPI's router, uvloop, httptools, orjson and onnxruntime, with as little between them as will answer V2.
# fastapi_server.py MODEL PORT
import sys

import numpy as np
import onnxruntime as ort
import orjson
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response

options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
outputs = [output.name for output in session.get_outputs()]
app = FastAPI()
TYPES = {"FP32": np.float32}
NAMES = {"float32": "FP32"}


@app.get("/v2/health/ready")
async def ready():
    return {"ready": True}


def read(body: bytes, head: int):
    document = orjson.loads(body[:head])
    at = head
    feeds = {}
    for tensor in document["inputs"]:
        size = tensor.get("parameters", {}).get("binary_data_size")
        if size is None:
            data = np.asarray(tensor["data"], dtype=TYPES[tensor["datatype"]])
        else:
            data = np.frombuffer(body, dtype=TYPES[tensor["datatype"]], count=size // 4, offset=at)
            at += size
        feeds[tensor["name"]] = data.reshape(tensor["shape"])
    return document, feeds


@app.post("/v2/models/{name}/infer")
async def infer(name: str, request: Request):
    body = await request.body()
    length = request.headers.get("inference-header-content-length")
    document, feeds = read(body, len(body) if length is None else int(length))
    results = session.run(None, feeds)
    binary = document.get("parameters", {}).get("binary_data_output", False)
    tensors = []
    tail = []
    for output, result in zip(outputs, results):
        tensor = {"name": output, "datatype": NAMES[str(result.dtype)], "shape": list(result.shape)}
        if binary:
            data = result.tobytes()
            tail.append(data)
            tensor["parameters"] = {"binary_data_size": len(data)}
        else:
            tensor["data"] = result.ravel().tolist()
        tensors.append(tensor)
    answer = orjson.dumps({"model_name": name, "outputs": tensors})
    if not binary:
        return Response(answer, media_type="application/json")
    headers = {"inference-header-content-length": str(len(answer))}
    return Response(answer + b"".join(tail), media_type="application/octet-stream", headers=headers)


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error", loop="uvloop", http="httptools", access_log=False)
