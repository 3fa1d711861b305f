#!/bin/bash
# reference_test.sh SHOAL PYTHON: the reference measures, what it writes is whole, and plan takes it.
set -euo pipefail
shoal=$1
python=$2
script=$SHOAL_SOURCE/bench/reference/gpu.py
rm -rf "$SHOAL_WORK"
mkdir -p "$SHOAL_WORK"
cd "$SHOAL_WORK"

"$python" "$script" --device cpu --quick --no-compile --out out
"$python" - <<'EOF'
import json
report = json.load(open("out/gpu.json"))
kinds = {(row["op"], row["dtype"]) for row in report["results"]}
wanted = {(op, dtype) for op in ("gemm", "layer", "train") for dtype in ("fp32", "bf16")}
assert wanted <= kinds, kinds
assert all(row["median_us"] > 0 and row["gflops"] > 0 for row in report["results"])
device = json.load(open("out/device.json"))
fastest = max(row["gflops"] for row in report["results"] if row["op"] == "gemm" and row["dtype"] == "fp32")
assert device["flops"]["fp32"][0] >= 0.999e9 * fastest
EOF

plan=$("$shoal" plan --model gpt2 --cluster out/cluster.json --global-batch 4 --context 64)
echo "$plan"
grep -q "tokens/s on 1 devices" <<<"$plan"

# Without a GPU it says so, and writes nothing.
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  if "$python" "$script" --out none 2>said; then exit 1; fi
  grep -q "sees no GPU" said
  [ ! -e none ]
fi
