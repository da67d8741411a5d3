"""Writes a scikit-learn estimator as JSON that Argosy's model server computes without Python.

    python3 export_sklearn.py model.joblib model.json      # or, in code: export(estimator, "model.json")

Nothing is guessed: an estimator, or a setting of one, that the form cannot hold is refused by name.
"""

import json
import sys

import numpy as np


class NotSupported(ValueError):
    pass


def numbers(array):
    return np.asarray(array, dtype=float).tolist()


def finite(thresholds):
    """A split of the missing from all others has an infinite threshold, which JSON has not."""
    return numbers(np.clip(np.asarray(thresholds, dtype=float), -sys.float_info.max, sys.float_info.max))


def classes_of(estimator):
    labels = np.asarray(estimator.classes_)
    if labels.ndim != 1:
        raise NotSupported(f"{type(estimator).__name__} with several targets")
    return [label.item() if hasattr(label, "item") else label for label in labels]


def transform(step):
    if step in (None, "passthrough"):
        raise NotSupported("a passthrough step; leave it out")
    kind = type(step).__name__
    if kind == "StandardScaler":
        return {"type": kind, "features": step.n_features_in_, "offset": numbers(step.mean_) if step.with_mean else None,
                "divisor": numbers(step.scale_) if step.with_std else None}
    if kind == "RobustScaler":
        return {"type": kind, "features": step.n_features_in_, "offset": numbers(step.center_) if step.with_centering else None,
                "divisor": numbers(step.scale_) if step.with_scaling else None}
    if kind == "MaxAbsScaler":
        return {"type": kind, "features": step.n_features_in_, "divisor": numbers(step.scale_)}
    if kind == "MinMaxScaler":
        return {"type": kind, "features": step.n_features_in_, "factor": numbers(step.scale_), "shift": numbers(step.min_),
                "clip": list(map(float, step.feature_range)) if step.clip else None}
    if kind == "SimpleImputer":
        if step.add_indicator or np.isnan(np.asarray(step.statistics_, dtype=float)).any():
            raise NotSupported("SimpleImputer that adds or drops features")
        missing = step.missing_values
        return {"type": kind, "statistics": numbers(step.statistics_), "missing_values": None if missing is np.nan or missing != missing else float(missing)}
    if kind == "Normalizer":
        return {"type": kind, "features": step.n_features_in_, "norm": step.norm}
    if kind == "PCA":
        scale = np.sqrt(step.explained_variance_) if step.whiten else None
        return {"type": kind, "components": numbers(step.components_), "mean": numbers(step.mean_), "scale": None if scale is None else numbers(scale)}
    if kind == "PolynomialFeatures":
        return {"type": kind, "features": step.n_features_in_, "powers": step.powers_.tolist()}
    raise NotSupported(f"the transformer {kind}")


REGRESSORS = {"LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "Lars", "LassoLars", "BayesianRidge",
              "ARDRegression", "HuberRegressor", "SGDRegressor", "LinearSVR", "TheilSenRegressor", "QuantileRegressor",
              "OrthogonalMatchingPursuit", "PassiveAggressiveRegressor"}
GENERALIZED = {"PoissonRegressor", "GammaRegressor"}
SCORING = {"LinearSVC", "RidgeClassifier", "RidgeClassifierCV", "Perceptron", "PassiveAggressiveClassifier"}


def linear(estimator, kind):
    coefficients = np.atleast_2d(np.asarray(estimator.coef_, dtype=float))
    intercepts = np.broadcast_to(np.atleast_1d(np.asarray(estimator.intercept_, dtype=float)), (len(coefficients),))
    out = {"type": "linear", "coefficients": numbers(coefficients), "intercepts": numbers(intercepts)}
    if kind in REGRESSORS:
        return out
    if kind in GENERALIZED:
        return out | {"link": "exp"}
    out["classes"] = classes_of(estimator)
    binary = len(out["classes"]) == 2
    if kind in SCORING:
        return out | {"link": "score" if binary else "identity"}
    if kind in ("LogisticRegression", "LogisticRegressionCV"):
        multi = getattr(estimator, "multi_class", "deprecated")
        if multi == "ovr" or (estimator.solver == "liblinear" and not binary):
            link = "sigmoid" if binary else "ovr"
        else:
            link = ("binary_softmax" if multi == "multinomial" else "sigmoid") if binary else "softmax"
        return out | {"link": link, "probabilities": True}
    if kind == "SGDClassifier":
        if estimator.loss == "log_loss":
            return out | {"link": "sigmoid" if binary else "ovr", "probabilities": True}
        if estimator.loss == "modified_huber":
            raise NotSupported("SGDClassifier with the loss modified_huber")
        return out | {"link": "score" if binary else "identity"}
    raise NotSupported(f"the estimator {kind}")


def tree(decision_tree, values):
    t = decision_tree.tree_
    if t.n_outputs != 1 and values is None:
        raise NotSupported("trees with several targets")
    return {"left": t.children_left.tolist(), "right": t.children_right.tolist(), "feature": t.feature.tolist(),
            "threshold": finite(t.threshold), "missing_left": t.missing_go_to_left.astype(int).tolist(), "value": values}


def leaf_values(decision_tree, classifier):
    t = decision_tree.tree_
    if classifier:
        if t.n_outputs != 1:
            raise NotSupported("trees with several targets")
        values = t.value[:, 0, :]
        return numbers(values / values.sum(axis=1, keepdims=True))
    return numbers(t.value[:, :, 0])


def forest(trees, estimator, classifier):
    first = trees[0]
    width = len(classes_of(estimator)) if classifier else first.tree_.n_outputs
    missing = all(t._support_missing_values(np.zeros((1, 1))) for t in trees)
    return {"type": "forest", "features": estimator.n_features_in_, "width": width, "missing": missing,
            "trees": [tree(t, leaf_values(t, classifier)) for t in trees]} | ({"classes": classes_of(estimator)} if classifier else {})


def boosting(estimator, classifier):
    if estimator.init_ == "zero":
        start = np.zeros(estimator.estimators_.shape[1])
    else:
        if type(estimator.init_).__name__ not in ("DummyClassifier", "DummyRegressor"):
            raise NotSupported("gradient boosting with an init estimator of its own")
        start = np.asarray(estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), dtype=np.float32)))[0]
    if classifier and estimator.loss != "log_loss":
        raise NotSupported(f"GradientBoostingClassifier with the loss {estimator.loss}")
    out = {"type": "boosting", "features": estimator.n_features_in_, "start": numbers(start), "rate": float(estimator.learning_rate),
           "trees": [tree(t, numbers(t.tree_.value[:, :, 0])) for row in estimator.estimators_ for t in row]}
    if not classifier:
        return out
    labels = classes_of(estimator)
    return out | {"classes": labels, "link": "sigmoid" if len(labels) == 2 else "softmax"}


def histogram_boosting(estimator, classifier):
    if estimator.is_categorical_ is not None and np.any(estimator.is_categorical_):
        raise NotSupported("histogram gradient boosting with categorical features")
    trees = []
    for iteration in estimator._predictors:
        for predictor in iteration:
            nodes = predictor.nodes
            leaf = nodes["is_leaf"].astype(bool)
            trees.append({"left": np.where(leaf, -1, nodes["left"].astype(int)).tolist(), "right": np.where(leaf, -1, nodes["right"].astype(int)).tolist(),
                          "feature": nodes["feature_idx"].astype(int).tolist(),
                          "threshold": finite(nodes["num_threshold"]),
                          "missing_left": nodes["missing_go_to_left"].astype(int).tolist(), "value": [[float(v)] for v in nodes["value"]]})
    out = {"type": "boosting", "features": estimator.n_features_in_, "start": numbers(np.ravel(estimator._baseline_prediction)), "rate": 1.0,
           "trees": trees, "missing": True, "single": False}
    if classifier:
        labels = classes_of(estimator)
        return out | {"classes": labels, "link": "sigmoid" if len(labels) == 2 else "softmax"}
    if estimator.loss in ("poisson", "gamma"):
        return out | {"link": "exp"}
    return out


def network(estimator, classifier):
    out = {"type": "network", "activation": estimator.activation,
           "layers": [{"weights": numbers(w), "biases": numbers(b)} for w, b in zip(estimator.coefs_, estimator.intercepts_)]}
    if not classifier:
        return out | {"link": "exp"} if getattr(estimator, "loss", "squared_error") == "poisson" else out
    labels = classes_of(estimator)
    return out | {"classes": labels, "link": "sigmoid" if len(labels) == 2 else "softmax"}


def predictor(estimator):
    kind = type(estimator).__name__
    if kind in REGRESSORS | GENERALIZED | SCORING | {"LogisticRegression", "LogisticRegressionCV", "SGDClassifier"}:
        return linear(estimator, kind)
    if kind in ("DecisionTreeClassifier", "ExtraTreeClassifier", "DecisionTreeRegressor", "ExtraTreeRegressor"):
        return forest([estimator], estimator, kind.endswith("Classifier"))
    if kind in ("RandomForestClassifier", "ExtraTreesClassifier", "RandomForestRegressor", "ExtraTreesRegressor"):
        return forest(estimator.estimators_, estimator, kind.endswith("Classifier"))
    if kind in ("GradientBoostingClassifier", "GradientBoostingRegressor"):
        return boosting(estimator, kind.endswith("Classifier"))
    if kind in ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"):
        return histogram_boosting(estimator, kind.endswith("Classifier"))
    if kind in ("MLPClassifier", "MLPRegressor"):
        return network(estimator, kind.endswith("Classifier"))
    if kind == "GaussianNB":
        return {"type": "gaussian_nb", "means": numbers(estimator.theta_), "variances": numbers(estimator.var_),
                "priors": numbers(estimator.class_prior_), "classes": classes_of(estimator)}
    if kind in ("KMeans", "MiniBatchKMeans"):
        return {"type": "kmeans", "centres": numbers(estimator.cluster_centers_)}
    raise NotSupported(f"the estimator {kind}")


def describe(estimator):
    if type(estimator).__name__ != "Pipeline":
        return predictor(estimator)
    steps = [step for _, step in estimator.steps]
    return {"type": "Pipeline", "steps": [transform(step) for step in steps[:-1]] + [describe(steps[-1])]}


def export(estimator, path):
    """Writes the estimator; raises NotSupported naming what the form cannot hold."""
    import sklearn

    document = {"format": "argosy-sklearn", "version": 1, "sklearn": sklearn.__version__, "estimator": describe(estimator)}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file, allow_nan=False)


if __name__ == "__main__":
    import joblib

    if len(sys.argv) != 3:
        sys.exit(__doc__)
    export(joblib.load(sys.argv[1]), sys.argv[2])
