"""The process in which Argosy's model server runs one Python model (docs/model-server.md).

Speaks frames on standard input and output: the head's length (4 bytes, little-endian), the head as JSON with `tensors` of
{name, datatype, shape, size}, then the tensors' bytes as in the binary tensor extension. Before it looks at the model it takes
from itself what it does not need: where it got namespaces of its own, every file system becomes read-only, what people keep
their keys in is covered, and all capabilities go.
"""

import json
import os
import struct
import sys

DATATYPES = {"BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64", "INT8": "int8",
             "INT16": "int16", "INT32": "int32", "INT64": "int64", "FP16": "float16", "FP32": "float32", "FP64": "float64"}
CODES = {"BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
         "FP16": "e", "FP32": "f", "FP64": "d"}
NUMERIC = list(DATATYPES)


class Refused(Exception):
    """A model that cannot be served, with the reason that the server reports."""

    def __init__(self, reason, message):
        super().__init__(message)
        self.reason = reason


# ---- what the process may do -------------------------------------------------------------------------------------------------

MS = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 24, 38


def confine(needed, hidden):
    """Makes the namespaces of this process read-only and covers `hidden`, but for folders that hold one of `needed`."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source, target, kind, flags, data=None):
        text = [None if each is None else os.fsencode(each) for each in (source, target, kind, data)]
        return libc.mount(text[0], text[1], text[2], ctypes.c_ulong(flags), text[3]) == 0

    mount(None, "/", None, MS_REC | MS_PRIVATE)
    for path in hidden:
        path = os.path.realpath(path)
        if not os.path.exists(path) or any((each + "/").startswith(path + "/") for each in needed):
            continue
        if os.path.isdir(path):
            mount("tmpfs", path, "tmpfs", MS["nosuid"] | MS["nodev"] | MS["noexec"], "size=4k,mode=555")
        else:
            mount("/dev/null", path, None, MS_BIND)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [line.split() for line in file]
    for fields in points:
        point = fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape")
        flags = sum(bit for name, bit in MS.items() if name in fields[5].split(","))
        mount(None, point, None, MS_REMOUNT | MS_BIND | MS["ro"] | (flags & ~MS["ro"]))
    mount("tmpfs", "/dev/shm", "tmpfs", MS["nosuid"] | MS["nodev"], "size=64m,mode=1777")
    mount("proc", "/proc", "proc", MS["nosuid"] | MS["nodev"] | MS["noexec"])
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    none = (ctypes.c_uint32 * 6)()
    libc.capset(header, none)


# ---- frames ------------------------------------------------------------------------------------------------------------------


def read_exactly(source, count):
    data = source.read(count)
    if len(data) < count:
        sys.exit(0)
    return data


def read_frame(source):
    (length,) = struct.unpack("<I", read_exactly(source, 4))
    head = json.loads(read_exactly(source, length))
    bodies = [read_exactly(source, tensor["size"]) for tensor in head.get("tensors", [])]
    return head, bodies


def write_frame(sink, head, tensors):
    described = [dict(spec, size=len(body)) for spec, body in tensors]
    text = json.dumps(dict(head, tensors=described)).encode("utf-8")
    sink.write(struct.pack("<I", len(text)) + text + b"".join(body for _, body in tensors))
    sink.flush()


def numpy_or_none():
    try:
        import numpy

        return numpy
    except ImportError:
        return None


def text_or_bytes(content):
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return bytes(content)


def decode(spec, body):
    """A tensor as numpy's array; as nested lists where there is no numpy."""
    np = numpy_or_none()
    shape, datatype = spec["shape"], spec["datatype"]
    if datatype == "BYTES":
        texts, at = [], 0
        while at < len(body):
            (length,) = struct.unpack_from("<I", body, at)
            texts.append(text_or_bytes(body[at + 4 : at + 4 + length]))
            at += 4 + length
        return nest(texts, shape) if np is None else np.array(texts, dtype=object).reshape(shape)
    if datatype not in DATATYPES:
        raise ValueError(f"{datatype} tensors do not reach Python models")
    if np is None:
        count = len(body) // struct.calcsize(CODES[datatype])
        return nest(list(struct.unpack(f"<{count}{CODES[datatype]}", body)), shape)
    return np.frombuffer(body, dtype=DATATYPES[datatype]).reshape(shape)


def nest(flat, shape):
    for size in reversed(shape[1:]):
        flat = [flat[index : index + size] for index in range(0, len(flat), size)] if size else flat
    return flat if shape else flat[0]


def encode(spec, value):
    np = numpy_or_none()
    name, datatype = spec["name"], spec["datatype"]
    if np is not None:
        if hasattr(value, "toarray"):
            value = value.toarray()
        array = np.asarray(value, dtype=object if datatype == "BYTES" else None)
        shape, flat = list(array.shape), array.ravel()
    else:
        shape, flat = [], value
        while isinstance(flat, (list, tuple)):
            shape.append(len(flat))
            flat = flat[0] if flat else None
        flat = value if shape else [value]
        for _ in shape[1:]:
            flat = [item for part in flat for item in part]
    fits = len(shape) == len(spec["shape"]) and all(want < 0 or want == got for want, got in zip(spec["shape"], shape))
    if not fits:
        raise ValueError(f"the model's value for {name} has shape {shape}, but the model declares {spec['shape']}")
    if datatype == "BYTES":
        texts = [(item if isinstance(item, bytes) else str(item).encode("utf-8")) for item in flat]
        body = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    elif np is not None:
        body = flat.astype(DATATYPES[datatype], copy=False).tobytes()
    else:
        body = struct.pack(f"<{len(flat)}{CODES[datatype]}", *flat)
    return {"name": name, "datatype": datatype, "shape": shape}, body


# ---- models ------------------------------------------------------------------------------------------------------------------


def check_specs(specs, name):
    good = isinstance(specs, (list, tuple)) and len(specs) > 0 and all(
        isinstance(each, dict) and {"name", "datatype", "shape"} <= set(each) for each in specs)
    if not good:
        raise Refused("ModelLoadFailed", f"the model must have {name}: a list of {{name, datatype, shape}}")
    return [{"name": each["name"], "datatype": each["datatype"], "shape": list(each["shape"])} for each in specs]


class Code:
    """A module with functions, or with a class Model: load, preprocess, predict, postprocess."""

    def __init__(self, path, settings):
        import importlib.util

        sys.path.insert(0, os.path.dirname(path))
        spec = importlib.util.spec_from_file_location("model", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules["model"] = module
        spec.loader.exec_module(module)
        self.owner = module.Model() if hasattr(module, "Model") else module
        self.context = {"folder": os.path.dirname(path), "parameters": settings}
        if hasattr(self.owner, "load"):
            self.owner.load(self.context)
        if not hasattr(self.owner, "predict"):
            raise Refused("ModelLoadFailed", f"{path} must have a function predict, or a class Model with one")
        self.inputs = check_specs(getattr(self.owner, "inputs", None), "inputs")
        self.outputs = check_specs(getattr(self.owner, "outputs", None), "outputs")
        self.batchable = getattr(self.owner, "batchable", False) is True
        self.platform = "python"

    def run(self, values):
        for step in ("preprocess", "predict", "postprocess"):
            if hasattr(self.owner, step):
                values = getattr(self.owner, step)(values)
        return values


class Pickle:
    """An estimator with predict: scikit-learn's, or anything like it."""

    def __init__(self, path, settings):
        self.model = self.read(path)
        if not hasattr(self.model, "predict"):
            raise Refused("ModelLoadFailed", f"{path} holds a {type(self.model).__name__}, which has no predict")
        import numpy as np

        features = getattr(self.model, "n_features_in_", None) or int(settings.get("features", 0))
        if not features:
            raise Refused("ModelLoadFailed", f"{path} does not say how many features it takes; set the parameter features")
        self.inputs = [{"name": str(settings.get("input_name", "input-0")), "datatype": "FP64", "shape": [-1, int(features)], "alsoTakes": NUMERIC, "nullIsNaN": True}]
        wanted = settings.get("output", "predict")
        names = {"predict": ["predict"], "predict_proba": ["predict_proba"], "all": ["predict", "predict_proba"]}.get(wanted)
        if names is None:
            raise Refused("ModelLoadFailed", f'parameter output is "{wanted}"; expected predict, predict_proba or all')
        self.names = [name for name in names if hasattr(self.model, name)]
        if not self.names:
            raise Refused("ModelLoadFailed", f"the model has no {wanted}")
        self.outputs = [self.describe(name, np.asarray(getattr(self.model, name)(np.zeros((1, int(features)))))) for name in self.names]
        self.batchable = True
        self.platform = next((each for each in ("sklearn", "xgboost", "lightgbm") if type(self.model).__module__.startswith(each)), "python")

    @staticmethod
    def read(path):
        if path.endswith(".joblib"):
            import joblib

            return joblib.load(path)
        if path.endswith(".cloudpickle"):
            import cloudpickle as pickle
        else:
            import pickle
        with open(path, "rb") as file:
            return pickle.load(file)

    @staticmethod
    def describe(name, array):
        kinds = {"f": "FP64" if array.dtype.itemsize == 8 else "FP32", "i": "INT64", "u": "INT64", "b": "BOOL"}
        return {"name": name, "datatype": kinds.get(array.dtype.kind, "BYTES"), "shape": [-1] + list(array.shape[1:])}

    def run(self, values):
        rows = values[self.inputs[0]["name"]]
        return {name: getattr(self.model, name)(rows) for name in self.names}


def load(file):
    path = file["file"]
    try:
        return (Code if path.endswith(".py") else Pickle)(path, file.get("settings") or {})
    except ImportError as error:
        raise Refused("RuntimeUnavailable", f"{path} needs a Python package that is not here: {error}") from error


def failure(error):
    if isinstance(error, Refused):
        return {"message": str(error), "reason": error.reason}
    message = f"{type(error).__name__}: {error}"[:400]
    status = getattr(error, "status", None)
    return {"message": f"the model could not compute: {message}", "status": status if isinstance(status, int) and 400 <= status < 500 else 500}


def main():
    # Nothing that the model prints may get between the answers.
    source = os.fdopen(os.dup(0), "rb", buffering=1 << 20)
    sink = os.fdopen(os.dup(1), "wb", buffering=1 << 20)
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    model = None
    while True:
        head, bodies = read_frame(source)
        answer, tensors = {"id": head["id"]}, []
        try:
            if head["op"] == "load":
                if os.environ.get("ARGOSY_CONFINED") == "1":
                    home = os.path.expanduser("~")
                    secrets = [".ssh", ".aws", ".kube", ".docker", ".gnupg", ".netrc", ".config", ".argosy", ".npmrc", ".pypirc", ".git-credentials"]
                    confine([os.path.realpath(head["file"]["file"]), sys.prefix, sys.base_prefix], [os.path.join(home, each) for each in secrets] + ["/run/secrets", "/var/run/secrets"])
                model = load(head["file"])
                answer["loaded"] = {"platform": model.platform, "inputs": model.inputs, "outputs": model.outputs, "batchable": model.batchable}
            else:
                values = {spec["name"]: decode(spec, body) for spec, body in zip(head["tensors"], bodies)}
                made = model.run(values)
                tensors = [encode(spec, made[spec["name"]]) for spec in model.outputs]
        except MemoryError:
            os.write(2, b"MemoryError\n")
            os._exit(70)
        except Exception as error:
            answer["error"] = failure(error)
            if head["op"] == "load" and "reason" not in answer["error"]:
                answer["error"] = {"message": f"{head['file']['file']} cannot be loaded: {type(error).__name__}: {error}"[:600], "reason": "ModelLoadFailed"}
            tensors = []
        write_frame(sink, answer, tensors)


main()
