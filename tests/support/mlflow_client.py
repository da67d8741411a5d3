"""What a training program does with MLflow's own client; prints one JSON object with what it saw."""

import json
import os
import sys
import tempfile

import mlflow
from mlflow import MlflowClient

mlflow.set_tracking_uri(sys.argv[1])
seen = {"version": mlflow.__version__}

mlflow.set_experiment("digits")
folder = tempfile.mkdtemp()
with mlflow.start_run(run_name="first") as run:
    run_id = run.info.run_id
    mlflow.log_params({"lr": 0.1, "layers": 3})
    for step in range(20):
        mlflow.log_metric("accuracy", step / 20, step=step)
    mlflow.set_tags({"team": "vision"})
    os.makedirs(os.path.join(folder, "weights"))
    with open(os.path.join(folder, "MLmodel"), "w") as file:
        file.write(
            f"artifact_path: model\nrun_id: {run_id}\nutc_time_created: 2024-01-02 03:04:05.678901\n"
            "flavors:\n  python_function: {loader_module: none}\n"
        )
    with open(os.path.join(folder, "weights", "w.bin"), "wb") as file:
        file.write(b"\0\1" * 500_000)
    mlflow.log_artifacts(folder, "model")
    mlflow.log_text("a, b", "notes été.csv")

client = MlflowClient()
run = client.get_run(run_id)
seen["params"], seen["metrics"], seen["status"] = run.data.params, run.data.metrics, run.info.status
seen["history"] = len(client.get_metric_history(run_id, "accuracy"))
seen["artifacts"] = sorted(file.path for file in client.list_artifacts(run_id))
local = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="model")
seen["weights"] = os.path.getsize(os.path.join(local, "weights", "w.bin"))
experiment = client.get_experiment_by_name("digits")
seen["found"] = [r.info.run_name for r in client.search_runs([experiment.experiment_id], "metrics.accuracy > 0.9 and params.lr = '0.1'")]
seen["missed"] = len(client.search_runs([experiment.experiment_id], "metrics.accuracy > 0.99"))

version = mlflow.register_model(f"runs:/{run_id}/model", "digits")
client.set_registered_model_alias("digits", "champion", version.version)
client.set_model_version_tag("digits", version.version, "checked", "yes")
seen["champion"] = client.get_model_version_by_alias("digits", "champion").version
seen["models"] = [model.name for model in client.search_registered_models()]
served = mlflow.artifacts.download_artifacts("models:/digits@champion")
seen["served"] = sorted(os.listdir(served))
model = client.create_external_model("outside", experiment.experiment_id) if hasattr(client, "create_external_model") else None
if model is None and hasattr(client, "create_logged_model"):
    model = client.create_logged_model(experiment.experiment_id, name="outside")
seen["logged"] = None if model is None else [m.name for m in client.search_logged_models([experiment.experiment_id])]

try:
    client.log_param(run_id, "lr", "0.2")
except mlflow.exceptions.MlflowException as problem:
    seen["refused"] = problem.error_code
client.delete_run(run_id)
seen["after"] = client.get_run(run_id).info.lifecycle_stage
print(json.dumps(seen))
