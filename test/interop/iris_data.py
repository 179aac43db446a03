"""model/iris.csv against scikit-learn's copy: every value, every species, every name.

usage: iris_data.py CSV
"""

import csv
import sys

import numpy as np
from sklearn.datasets import load_iris
from report import Report

report = Report()
iris = load_iris()
with open(sys.argv[1], newline="") as file:
    header, *rows = csv.reader(file)

with report.check("150 rows under the expected header"):
    assert header == [*(name.replace(" (cm)", "").replace(" ", "_") for name in iris.feature_names), "species"], header
    assert len(rows) == 150, len(rows)

with report.check("measurements are equal"):
    np.testing.assert_array_equal(np.array([[float(cell) for cell in row[:4]] for row in rows]), iris.data)

with report.check("species are equal"):
    assert [row[4] for row in rows] == [str(iris.target_names[label]) for label in iris.target]

with report.check("samples 35 and 38 are as Fisher printed them"):
    assert rows[34][:4] == ["4.9", "3.1", "1.5", "0.2"], rows[34]
    assert rows[37][:4] == ["4.9", "3.6", "1.4", "0.1"], rows[37]

report.finish()
