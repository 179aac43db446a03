"""Scores scikit-learn's LDA and logistic regression on the folds that the network is judged on.

usage: bun scripts/train.ts --print-splits > splits.json
       python scripts/baselines.py model/iris.csv splits.json > model/baselines.json   (scikit-learn 1.9.1)
"""

import csv
import json
import sys

import numpy as np
import sklearn
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SPECIES = ["setosa", "versicolor", "virginica"]

with open(sys.argv[1]) as file:
    table = list(csv.DictReader(file))
with open(sys.argv[2]) as file:
    splits = json.load(file)
x = np.array([[float(value) for value in list(row.values())[:4]] for row in table])
y = np.array([SPECIES.index(row["species"]) for row in table])


def scaled_logistic(**options):
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000, **options))


def tuned_logistic():
    inner = StratifiedKFold(n_splits=5, shuffle=True, random_state=0)
    grid = {"logisticregression__C": [0.1, 1, 10, 100, 1000]}
    return GridSearchCV(scaled_logistic(), grid, scoring="neg_log_loss", cv=inner)


MODELS = [
    ("Linear discriminant analysis", "LinearDiscriminantAnalysis()", LinearDiscriminantAnalysis),
    ("Logistic regression", "StandardScaler, LogisticRegression(C=1)", scaled_logistic),
    ("Logistic regression, tuned", "StandardScaler, LogisticRegression, C by inner 5-fold log loss", tuned_logistic),
]


def score(make, split):
    train, test = split["train"], split["test"]
    model = make().fit(x[train], y[train])
    probabilities = model.predict_proba(x[test])
    return (accuracy_score(y[test], probabilities.argmax(1)), log_loss(y[test], probabilities, labels=[0, 1, 2]))


def spread(values):
    return {"mean": round(float(np.mean(values)), 6), "sd": round(float(np.std(values, ddof=1)), 6)}


models = []
for name, definition, make in MODELS:
    scores = [score(make, split) for split in splits["crossValidation"]]
    accuracy, loss = np.array(scores).T
    held_out = score(make, splits["heldOut"])
    models.append({
        "name": name,
        "definition": definition,
        "crossValidation": {
            "accuracy": spread(accuracy),
            "logLoss": spread(loss),
            "accuracyByRepeat": [round(float(v), 6) for v in accuracy.reshape(-1, splits["folds"]).mean(1)],
        },
        "heldOut": {"accuracy": round(float(held_out[0]), 6), "logLoss": round(float(held_out[1]), 6)},
    })
json.dump({
    "library": f"scikit-learn {sklearn.__version__}",
    "foldsSha256": splits["foldsSha256"],
    "models": models,
}, sys.stdout, indent=2)
print()
