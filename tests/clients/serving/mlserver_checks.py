"""MLServer's command line: a file of requests, answered into another."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def checks(port, grpc_port):
    def run(*options):
        with tempfile.TemporaryDirectory() as folder:
            asked, answered = Path(folder, "asked.jsonl"), Path(folder, "answered.jsonl")
            requests = [
                {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [n, n + 0.5]}]} for n in range(6)
            ]
            asked.write_text("\n".join(json.dumps(each) for each in requests))
            words = ["infer", "-u", f"127.0.0.1:{port}", "-m", "fp32", "-i", asked, "-o", answered, *options]
            code = "from mlserver.cli import main; main()"
            done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr[-1500:]
            answers = [json.loads(line) for line in answered.read_text().splitlines()]
            got = sorted(answer["outputs"][0]["data"] for answer in answers)
            assert got == [[n, n + 0.5] for n in range(6)], answers

    def batch_inference():
        run()

    def batch_inference_in_micro_batches():
        run("-s", "3")

    def batch_inference_binary():
        run("-b")

    return [batch_inference, batch_inference_in_micro_batches, batch_inference_binary]
