"""KServeClient of KServe's SDK, and its models of the kinds, against a cluster whose current context is a member."""

import contextlib
import io
import json
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from urllib.parse import urlparse

from kserve import (
    InferenceRESTClient,
    KServeClient,
    V1alpha1InferenceGraph,
    V1alpha1InferenceGraphSpec,
    V1alpha1InferenceRouter,
    V1alpha1InferenceStep,
    V1alpha1ModelSpec,
    V1alpha1TrainedModel,
    V1alpha1TrainedModelSpec,
    V1beta1InferenceService,
    V1beta1InferenceServiceSpec,
    V1beta1ModelFormat,
    V1beta1ModelSpec,
    V1beta1ONNXRuntimeSpec,
    V1beta1PredictorSpec,
    constants,
)
from kserve.inference_client import RESTConfig
from kubernetes import client as k8s

NAMESPACE = "models"
ROW = [0.0] * 64


def service(name, predictor):
    return V1beta1InferenceService(
        api_version=constants.KSERVE_V1BETA1,
        kind=constants.KSERVE_KIND_INFERENCESERVICE,
        metadata=k8s.V1ObjectMeta(name=name, namespace=NAMESPACE),
        spec=V1beta1InferenceServiceSpec(predictor=predictor),
    )


def predictor(number, **more):
    model = V1beta1ModelSpec(model_format=V1beta1ModelFormat(name="onnx"), storage_uri=f"pvc://models/{number}")
    return V1beta1PredictorSpec(min_replicas=1, model=model, **more)


def post(url, body):
    """Posts to an address by its host, whatever names this machine knows."""
    call = urllib.request.Request(
        f"http://127.0.0.1:{url.port}{url.path or '/'}",
        data=json.dumps(body).encode(),
        headers={"Host": url.netloc, "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(call, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def checks(_port, _grpc_port):
    client = KServeClient()
    order = []

    def ready(name, **more):
        client.wait_isvc_ready(name, namespace=NAMESPACE, timeout_seconds=100, polling_interval=0.5, **more)
        return client.get(name, namespace=NAMESPACE)

    def changed(made):
        return ready(made["metadata"]["name"], expected_generation=made["metadata"]["generation"])

    async def answers(name, count):
        """Which models answered."""
        url = urlparse(client.get(name, namespace=NAMESPACE)["status"]["url"])
        rest = InferenceRESTClient(RESTConfig(protocol="v1"))
        seen = Counter()
        order.clear()
        for _ in range(count):
            answer = await rest.infer(
                f"http://127.0.0.1:{url.port}",
                {"instances": [ROW]},
                model_name=name,
                headers={"Host": url.netloc},
            )
            seen[answer["predictions"][0]["label"]] += 1
            order.append(str(answer["predictions"][0]["label"]))
        await rest.close()
        return dict(seen)

    def refused(call, *words):
        try:
            call()
        except RuntimeError as error:
            assert all(word in str(error) for word in words), error
        else:
            raise AssertionError(f"not refused: {words}")

    def create_and_wait():
        made = client.create(service("digits", predictor(1)))
        assert made["metadata"]["uid"], made
        found = ready("digits")
        assert found["status"]["url"].startswith("http://digits.models."), found["status"]
        assert found["status"]["components"]["predictor"]["latestReadyRevision"], found["status"]
        assert found["status"]["modelStatus"]["states"]["activeModelState"] == "Loaded", found["status"]

    def watch():
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            client.get("digits", namespace=NAMESPACE, watch=True, timeout_seconds=30)
        assert "True" in said.getvalue() and "http://digits.models." in said.getvalue(), said.getvalue()

    async def predict():
        assert await answers("digits", 5) == {1: 5}

    def list_and_get():
        names = [item["metadata"]["name"] for item in client.get(namespace=NAMESPACE)["items"]]
        assert names == ["digits"], names
        assert client.is_isvc_ready("digits", namespace=NAMESPACE)
        refused(lambda: client.get("none", namespace=NAMESPACE), "(404)", "NotFound")

    async def canary_by_patch():
        found = changed(client.patch("digits", service("digits", predictor(2, canary_traffic_percent=20))))
        traffic = {entry["latestRevision"]: entry["percent"] for entry in found["status"]["components"]["predictor"]["traffic"]}
        assert traffic == {True: 20, False: 80}, traffic
        seen = await answers("digits", 50)
        assert seen == {1: 40, 2: 10}, (seen, "".join(order), found["status"])

    async def rollback_by_patch():
        changed(client.patch("digits", service("digits", predictor(2, canary_traffic_percent=0))))
        assert await answers("digits", 10) == {1: 10}

    async def promotion_by_replace():
        found = changed(client.replace("digits", service("digits", predictor(2))))
        status = found["status"]["components"]["predictor"]
        assert status["latestRolledoutRevision"] == status["latestReadyRevision"], status
        assert await answers("digits", 10) == {2: 10}

    async def framework_keys():
        onnx = V1beta1ONNXRuntimeSpec(storage_uri="pvc://models/1")
        client.create(service("older", V1beta1PredictorSpec(min_replicas=1, onnx=onnx)), watch=True, timeout_seconds=100)
        found = client.get("older", namespace=NAMESPACE)
        assert found["spec"]["predictor"]["model"]["modelFormat"]["name"] == "onnx", found["spec"]
        assert await answers("older", 2) == {1: 2}
        client.delete("older", namespace=NAMESPACE)

    def named_canary():
        """Members of the API that this SDK has no class for: as plain JSON, by the client that it uses."""
        body = {"spec": {"canary": [{"trafficPercent": 30, "predictor": {"name": "next", "model": {"modelFormat": {"name": "onnx"}, "storageUri": "pvc://models/1"}}}]}}
        at = (constants.KSERVE_GROUP, "v1beta1", NAMESPACE, constants.KSERVE_PLURAL_INFERENCESERVICE, "digits")
        patched = client.api_instance.patch_namespaced_custom_object(*at, body)
        found = changed(patched)
        assert found["spec"]["canary"][0]["trafficPercent"] == 30, found["spec"]
        client.api_instance.patch_namespaced_custom_object(*at, {"spec": {"canary": None}})

    def faults():
        client.create(service("broken", predictor("broken")))
        for _ in range(200):
            status = client.get("broken", namespace=NAMESPACE).get("status", {}).get("modelStatus", {})
            if status.get("transitionStatus") == "BlockedByFailedLoad":
                break
            time.sleep(0.25)
        assert status["lastFailureInfo"]["reason"] == "ModelLoadFailed", status
        assert not client.is_isvc_ready("broken", namespace=NAMESPACE)
        client.delete("broken", namespace=NAMESPACE)

    def refusals():
        spec = V1beta1PredictorSpec(min_replicas=3, max_replicas=1, model=predictor(1).model)
        refused(lambda: client.create(service("wrong", spec)), "minReplicas")
        refused(lambda: client.create(service("digits", predictor(1))), "(409)")

    def graph():
        """Before `digits` goes: both steps are asked, the second with the request too."""
        steps = [
            V1alpha1InferenceStep(service_name="digits", dependency="Hard"),
            V1alpha1InferenceStep(service_name="digits", data="$request", dependency="Hard"),
        ]
        made = V1alpha1InferenceGraph(
            api_version="serving.kserve.io/v1alpha1",
            kind=constants.KSERVE_KIND_INFERENCEGRAPH,
            metadata=k8s.V1ObjectMeta(name="chain", namespace=NAMESPACE),
            spec=V1alpha1InferenceGraphSpec(nodes={"root": V1alpha1InferenceRouter(router_type="Sequence", steps=steps)}),
        )
        client.create_inference_graph(made, namespace=NAMESPACE)
        client.wait_ig_ready("chain", namespace=NAMESPACE, timeout_seconds=100, polling_interval=1)
        url = urlparse(client.get_inference_graph("chain", namespace=NAMESPACE)["status"]["url"])
        inputs = [{"name": "input", "datatype": "FP32", "shape": [1, 64], "data": ROW}]
        status, answer = post(url, {"inputs": inputs})
        assert status == 200 and answer["model_name"] == "digits", (status, answer)
        client.delete_inference_graph("chain", namespace=NAMESPACE)

    def trained_model():
        """A service that names no model loads the one that it is given."""
        files = k8s.V1VolumeMount(name="files", mount_path="/files")
        volume = k8s.V1Volume(
            name="files", persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(claim_name="models")
        )
        model = V1beta1ModelSpec(
            model_format=V1beta1ModelFormat(name="onnx"), protocol_version="v1", volume_mounts=[files]
        )
        client.create(service("many", V1beta1PredictorSpec(min_replicas=1, model=model, volumes=[volume])))
        made = V1alpha1TrainedModel(
            api_version="serving.kserve.io/v1alpha1",
            kind=constants.KSERVE_KIND_TRAINEDMODEL,
            metadata=k8s.V1ObjectMeta(name="first", namespace=NAMESPACE),
            spec=V1alpha1TrainedModelSpec(
                inference_service="many",
                model=V1alpha1ModelSpec(storage_uri="file:///files/1", framework="onnx", memory="64Mi"),
            ),
        )
        client.create_trained_model(made, NAMESPACE)
        at = (constants.KSERVE_GROUP, "v1alpha1", NAMESPACE, constants.KSERVE_PLURAL_TRAINEDMODEL, "first")
        for _ in range(200):
            status = client.api_instance.get_namespaced_custom_object(*at).get("status", {})
            if {"Ready": "True"}.items() <= {one["type"]: one["status"] for one in status.get("conditions", [])}.items():
                break
            time.sleep(0.25)
        code, answer = post(urlparse(status["url"]), {"instances": [ROW]})
        assert code == 200 and answer["predictions"][0]["label"] == 1, (code, answer)
        client.delete_trained_model("first", NAMESPACE)
        client.delete("many", namespace=NAMESPACE)

    def credentials():
        """The SDK takes what the file says for base64."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "credentials")
            file.write_text("[default]\naws_access_key_id = YQ==\naws_secret_access_key = Yg==\n")
            client.set_credentials(
                "S3", namespace=NAMESPACE, credentials_file=str(file), service_account="reader", s3_endpoint="store:9000", s3_use_https="0"
            )
        account = client.core_api.read_namespaced_service_account("reader", NAMESPACE)
        secret = client.core_api.read_namespaced_secret(account.secrets[0].name, NAMESPACE)
        assert json.dumps(secret.metadata.annotations).count("store:9000") == 1, secret.metadata
        assert set(secret.data) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}, list(secret.data)

    def deletion():
        client.delete("digits", namespace=NAMESPACE)
        refused(lambda: client.get("digits", namespace=NAMESPACE), "(404)")
        for _ in range(200):
            left = [
                item.metadata.name
                for items in (
                    client.app_api.list_namespaced_deployment(NAMESPACE),
                    client.core_api.list_namespaced_pod(NAMESPACE),
                    client.core_api.list_namespaced_service(NAMESPACE),
                    k8s.NetworkingV1Api().list_namespaced_ingress(NAMESPACE),
                )
                for item in items.items
            ]
            if not left:
                return
            time.sleep(0.25)
        raise AssertionError(left)

    return [
        create_and_wait, watch, predict, list_and_get, canary_by_patch, rollback_by_patch, promotion_by_replace, framework_keys,
        named_canary, faults, refusals, graph, trained_model, credentials, deletion,
    ]
