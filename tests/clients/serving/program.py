"""Clients of model servers, unmodified, against one server: a line of JSON for each check."""

import asyncio
import importlib
import json
import sys
import traceback

MODULES = {"triton": "triton_checks", "openai": "openai_checks", "grpc": "grpc_checks", "kserve": "kserve_checks", "mlserver": "mlserver_checks", "kserve-client": "kserve_client_checks"}


def main():
    group, port, grpc_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    module = importlib.import_module(MODULES[group])
    checks = module.checks(port, grpc_port)
    for check in checks:
        try:
            result = check()
            if asyncio.iscoroutine(result):
                asyncio.run(result)
            said = "ok"
        except BaseException as error:
            said = "".join(traceback.format_exception(error))[-1500:]
        print(json.dumps({"check": check.__name__, "result": said}), flush=True)


main()
