#!/bin/sh
# One flower by row, the same by column, then a named version. SERVER defaults to a local server.
set -eu
server=${SERVER:-http://localhost:8501}

curl -sS --fail "$server/v1/models/iris"
curl -sS --fail "$server/v1/models/iris/metadata"
curl -sS --fail -X POST "$server/v1/models/iris:predict" \
  -d '{"instances": [[5.1, 3.5, 1.4, 0.2]]}'
echo
curl -sS --fail -X POST "$server/v1/models/iris:predict" \
  -d '{"inputs": {"input": [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]}}'
echo
curl -sS --fail -X POST "$server/v1/models/iris/versions/1:predict" \
  -d '{"signature_name": "serving_default", "instances": [{"input": [6.0, 2.9, 4.5, 1.5]}]}'
echo
curl -sS --fail -X POST "$server/v1/models/iris:classify" \
  -d '{"signature_name": "classify", "examples": [{"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}]}'
echo
