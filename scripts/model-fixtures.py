"""Makes src/dataplane/modelserver/engines/tabular/models.data.json: small models of XGBoost, LightGBM and scikit-learn with
what those libraries predict. Run by hand in a virtual environment: pip install xgboost-cpu lightgbm scikit-learn."""

import base64
import json
import os
import sys
import tempfile
import warnings

import lightgbm as lgb
import numpy as np
import xgboost as xgb

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(root, "examples", "models"))
from export_sklearn import export  # noqa: E402

warnings.filterwarnings("ignore")
rng = np.random.default_rng(7)
N, F = 240, 5
X = rng.normal(size=(N, F)).round(3)
X[:, 3] = rng.integers(0, 9, N)
X[:, 4] = np.where(rng.random(N) < 0.5, 0, X[:, 4])
HOLES = X.copy()
HOLES[rng.random(X.shape) < 0.1] = np.nan
signal = np.nan_to_num(HOLES[:, 0]) + np.isin(HOLES[:, 3], [1, 4, 6]) - 0.5 * np.nan_to_num(HOLES[:, 1]) * np.nan_to_num(HOLES[:, 2])
Y = {"real": signal, "two": (signal > 0.2).astype(int), "three": np.digitize(signal, [-0.3, 0.7]), "count": np.floor(np.exp(np.clip(signal, -2, 2))) + 0.5}
GROUPS = [24] * 10
TEST = rng.normal(size=(16, F)).round(3)
TEST[:, 3] = rng.integers(-1, 12, 16)
TEST[3:9][rng.random((6, F)) < 0.5] = np.nan
TEST[:, 4] = np.where(rng.random(16) < 0.4, 0, TEST[:, 4])
models = []


def rows_of(rows):
    return [[None if value != value else float(value) for value in row] for row in rows]


def add(name, kind, file, content, rows, expected, settings=None):
    for key, value in expected.items():
        if np.asarray(value).dtype.kind == "f" and not np.isfinite(np.asarray(value)).all():
            print("not finite:", name, key)
            return
    text = content if isinstance(content, str) else base64.b64encode(content).decode()
    models.append({"name": name, "kind": kind, "file": file, "encoding": "utf8" if isinstance(content, str) else "base64", "content": text,
                   "settings": settings or {}, "rows": rows_of(rows), "expected": {key: np.asarray(value).tolist() for key, value in expected.items()}})


def saved(booster, file):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, file)
        booster.save_model(path)
        return open(path, "rb").read() if file.endswith("ubj") else open(path, encoding="utf-8").read()


def boost(name, parameters, target, rounds=4, rows=None, categorical=False, ubj=False):
    kinds = ["q", "q", "q", "c", "q"] if categorical else None
    data = xgb.DMatrix(HOLES, label=Y.get(target), feature_types=kinds, enable_categorical=categorical)
    if target == "rank":
        data = xgb.DMatrix(HOLES, label=Y["three"])
        data.set_group(GROUPS)
    if target == "lower":
        data.set_float_info("label_lower_bound", Y["count"])
        data.set_float_info("label_upper_bound", Y["count"])
    test_rows = TEST if rows is None else rows
    booster = xgb.train({"max_depth": 3, "seed": 1, "nthread": 1, "tree_method": "hist", **parameters}, data, rounds)
    test = xgb.DMatrix(test_rows, feature_types=kinds, enable_categorical=categorical)
    file = "model.ubj" if ubj else "model.json"
    for raw in (False, True):
        add(f"xgboost {name}{' raw' if raw else ''}", "xgboost", file, saved(booster, file), test_rows, {"predict": booster.predict(test, output_margin=raw)}, {"output": "raw"} if raw else {})


known = np.clip(np.where(TEST[:, 3] < 0, 0, TEST[:, 3]), 0, 8)
KNOWN = TEST.copy()
KNOWN[:, 3] = known
boost("regression", {"objective": "reg:squarederror"}, "real")
boost("regression in ubjson", {"objective": "reg:squarederror", "base_score": 0.3}, "real", ubj=True)
boost("pseudo-Huber", {"objective": "reg:pseudohubererror"}, "real", rounds=2)
boost("absolute error", {"objective": "reg:absoluteerror"}, "real", rounds=2)
boost("squared log error", {"objective": "reg:squaredlogerror"}, "count", rounds=2)
boost("binary", {"objective": "binary:logistic", "base_score": 0.2}, "two")
boost("binary raw objective", {"objective": "binary:logitraw"}, "two", rounds=2)
boost("hinge", {"objective": "binary:hinge"}, "two", rounds=2)
boost("reg:logistic", {"objective": "reg:logistic"}, "two", rounds=2)
boost("softprob", {"objective": "multi:softprob", "num_class": 3}, "three", rounds=3)
boost("softmax", {"objective": "multi:softmax", "num_class": 3}, "three", rounds=3)
boost("poisson", {"objective": "count:poisson"}, "count")
boost("gamma", {"objective": "reg:gamma"}, "count", rounds=2)
boost("tweedie", {"objective": "reg:tweedie"}, "count", rounds=2)
boost("cox", {"objective": "survival:cox"}, "count", rounds=2)
boost("aft", {"objective": "survival:aft"}, "lower", rounds=2)
boost("ranking", {"objective": "rank:ndcg"}, "rank")
boost("categorical sets", {"objective": "binary:logistic", "max_cat_to_onehot": 1}, "two", categorical=True, rows=KNOWN)
boost("categorical one-hot", {"objective": "reg:squarederror", "max_cat_to_onehot": 20}, "real", categorical=True, rows=KNOWN, ubj=True)
boost("parallel trees", {"objective": "binary:logistic", "num_parallel_tree": 3, "subsample": 0.5, "colsample_bynode": 0.6}, "two", rounds=2)
boost("dart", {"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.5, "one_drop": 1}, "two", rounds=6)
boost("dart classes", {"objective": "multi:softprob", "num_class": 3, "booster": "dart", "rate_drop": 0.4}, "three", rounds=3)
boost("linear", {"objective": "reg:squarederror", "booster": "gblinear"}, "real")
boost("linear classes", {"objective": "multi:softprob", "num_class": 3, "booster": "gblinear"}, "three")


def light(name, parameters, target, rounds=4, rows=None, categorical=(), json_too=False):
    label = Y["three"] if target == "rank" else Y[target]
    data = lgb.Dataset(HOLES, label=label, group=GROUPS if target == "rank" else None, categorical_feature=list(categorical))
    model = lgb.train({"verbose": -1, "num_leaves": 6, "min_data_in_leaf": 5, "min_data_per_group": 1, "cat_smooth": 0.1, "max_cat_to_onehot": 1, "num_threads": 1, "seed": 1, **parameters}, data, rounds)
    test_rows = TEST if rows is None else rows
    # The parameters that training leaves at the end are no part of the model.
    text = model.model_to_string().split("\nparameters:")[0] + "\n"
    for raw in (False, True):
        settings = {"output": "raw"} if raw else {}
        expected = {"predict": model.predict(test_rows, raw_score=raw)}
        add(f"lightgbm {name}{' raw' if raw else ''}", "lightgbm", "model.txt", text, test_rows, expected, settings)
        if json_too and not raw:
            add(f"lightgbm {name} json", "lightgbm", "model.json", json.dumps(model.dump_model()), test_rows, expected, settings)


light("regression", {"objective": "regression"}, "real", json_too=True)
light("regression sqrt", {"objective": "regression", "reg_sqrt": True}, "count")
light("zero as missing", {"objective": "regression", "zero_as_missing": True}, "real", json_too=True)
light("no missing", {"objective": "regression", "use_missing": False}, "real")
light("binary", {"objective": "binary", "sigmoid": 0.7}, "two")
light("categorical", {"objective": "binary"}, "two", categorical=[3], json_too=True)
light("classes", {"objective": "multiclass", "num_class": 3}, "three", rounds=3, json_too=True)
light("one against all", {"objective": "multiclassova", "num_class": 3}, "three", rounds=2)
light("poisson", {"objective": "poisson"}, "count", rounds=2)
light("gamma", {"objective": "gamma"}, "count", rounds=2)
light("tweedie", {"objective": "tweedie"}, "count", rounds=2)
light("cross entropy", {"objective": "cross_entropy"}, "two", rounds=2)
light("cross entropy lambda", {"objective": "cross_entropy_lambda"}, "two", rounds=2)
light("quantile", {"objective": "quantile", "alpha": 0.3}, "real", rounds=2)
light("l1", {"objective": "l1"}, "real", rounds=2)
light("ranking", {"objective": "lambdarank"}, "rank", rounds=3)
light("dart", {"objective": "binary", "boosting": "dart"}, "two", rounds=5)
light("random forest", {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}, "two", rounds=4)
light("random forest classes", {"objective": "multiclass", "num_class": 3, "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}, "three", rounds=3)
light("linear trees", {"objective": "regression", "linear_tree": True}, "real", rounds=3)


def learn(name, estimator, target, holes=False, probabilities=False, labels=None):
    rows = TEST if holes else np.nan_to_num(TEST)
    y = Y[target] if labels is None else np.asarray(labels)[Y[target]]
    estimator.fit(HOLES if holes else X, y)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.json")
        export(estimator, path)
        content = open(path, encoding="utf-8").read()
    expected = {"predict": estimator.predict(rows)}
    if probabilities:
        expected["predict_proba"] = estimator.predict_proba(rows)
    add(f"sklearn {name}", "sklearn", "model.json", content, rows, expected, {"output": "all"})


from sklearn.cluster import KMeans  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingClassifier, GradientBoostingRegressor, HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor  # noqa: E402
from sklearn.impute import SimpleImputer  # noqa: E402
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge, RidgeClassifier, SGDClassifier  # noqa: E402
from sklearn.naive_bayes import GaussianNB  # noqa: E402
from sklearn.neural_network import MLPClassifier, MLPRegressor  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, Normalizer, PolynomialFeatures, RobustScaler, StandardScaler  # noqa: E402
from sklearn.svm import LinearSVC  # noqa: E402
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor  # noqa: E402

words = ["low", "mid", "high"]
learn("linear regression", LinearRegression(), "real")
learn("ridge after min-max and polynomials", make_pipeline(MinMaxScaler(clip=True), PolynomialFeatures(2), Ridge()), "real")
learn("poisson regression", make_pipeline(StandardScaler(), PoissonRegressor()), "count")
learn("logistic regression", make_pipeline(StandardScaler(), LogisticRegression()), "two", probabilities=True)
learn("logistic regression, words", make_pipeline(RobustScaler(), LogisticRegression()), "three", probabilities=True, labels=words)
learn("stochastic gradient, log loss", make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=1)), "three", probabilities=True)
learn("ridge classifier", RidgeClassifier(), "two")
learn("linear support vectors", make_pipeline(MaxAbsScaler(), LinearSVC(random_state=1)), "three")
learn("tree with missing values", DecisionTreeClassifier(max_depth=4, random_state=1), "two", holes=True, probabilities=True)
learn("tree", DecisionTreeRegressor(max_depth=4, random_state=1), "real")
learn("forest", RandomForestClassifier(4, max_depth=4, random_state=1), "three", probabilities=True, labels=words)
learn("forest with missing values", RandomForestRegressor(3, max_depth=4, random_state=1), "real", holes=True)
learn("extra trees", ExtraTreesRegressor(3, max_depth=4, random_state=1), "real")
learn("gradient boosting", GradientBoostingClassifier(n_estimators=4, max_depth=2, random_state=1), "two", probabilities=True)
learn("gradient boosting, classes", GradientBoostingClassifier(n_estimators=3, max_depth=2, random_state=1), "three", probabilities=True)
learn("gradient boosting regression", GradientBoostingRegressor(n_estimators=4, max_depth=2, random_state=1), "real")
learn("histogram boosting", HistGradientBoostingClassifier(max_iter=4, max_leaf_nodes=5, random_state=1), "two", holes=True, probabilities=True)
learn("histogram boosting, classes", HistGradientBoostingClassifier(max_iter=2, max_leaf_nodes=5, random_state=1), "three", holes=True, probabilities=True)
learn("histogram boosting, poisson", HistGradientBoostingRegressor(loss="poisson", max_iter=3, max_leaf_nodes=5, random_state=1), "count", holes=True)
learn("network", make_pipeline(StandardScaler(), MLPClassifier(hidden_layer_sizes=(6,), max_iter=60, random_state=1)), "three", probabilities=True)
learn("network regression", make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(5, 4), activation="tanh", max_iter=60, random_state=1)), "real")
learn("naive Bayes after imputation", make_pipeline(SimpleImputer(strategy="median"), GaussianNB()), "three", holes=True, probabilities=True)
learn("k-means after PCA", make_pipeline(Normalizer(), PCA(3, whiten=True, random_state=1), KMeans(3, n_init=2, random_state=1)), "real")

versions = {"xgboost": xgb.__version__, "lightgbm": lgb.__version__, "sklearn": __import__("sklearn").__version__}
with open(os.path.join(root, "src/dataplane/modelserver/engines/tabular/models.data.json"), "w", encoding="utf-8") as file:
    json.dump({"made": versions, "models": models}, file, allow_nan=False)
    file.write("\n")
print(len(models), "models")
