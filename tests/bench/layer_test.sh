#!/bin/sh
# layer_test.sh SHOAL: shoal bench layer checks its block against one process, on meshes that divide rows,
# heads and batch unevenly, and gives its tables and its JSON.
shoal=$1
. "$(dirname "$0")/../launch/expect.sh"

peers=none
bench() {
  "$mpirun" -n 3 --bind-to none "$shoal" bench layer --peers "$peers" --rounds 1 --width 48 "$@"
}

rejects 'float' bench --heads 6 --dtype float
peers=telegraph
rejects 'peer.*telegraph' bench --heads 6
peers=none
rejects 'batch must be 1' bench --heads 6 --batch 0
rejects 'batch 2 does not divide over dp=3' bench --heads 6 --mesh dp=3 --batch 2
rejects '5 heads' bench --heads 5 --mesh tp=3
rejects 'by_rows' bench --heads 6 --activations by_columns
rejects 'nowhere' bench --heads 6 --json nowhere/table.json

# 35 rows over 3 ranks, 12 of the second; results are checked by the bench itself.
for how in whole by_rows; do
  type=bf16
  [ $how = whole ] || type=fp32
  accepts "^$type +48 " bench --heads 6 --batch 5 --sequence 7 --dtype $type --activations $how \
    --kernels --mesh tp=3 --json table.json
  [ "$(grep -c '"op": "layer"' table.json)" -eq 1 ] || fail "not one block in the JSON"
  [ "$(grep -c '"op": "kernel"' table.json)" -ge 20 ] || fail "kernels are missing in the JSON"
  printf '%s\n' "$output" | grep -q 'MLP out backward, weight' || fail "no roofline by kernel"
  grep -q "$how" table.json || fail "the JSON does not say $how"
done
accepts 'dp=3' bench --heads 6 --batch 4 --sequence 5 --mesh dp=3

# PyTorch is timed where it is there; asked for by name it must be.
peers=torch
run bench --heads 6 --batch 1 --sequence 8
if [ "$status" -eq 0 ]; then
  printf '%s\n' "$output" | grep -Eq '^fp32 +48 .* [0-9.]+$' || fail "no time of PyTorch"
  printf '%s\n' "$output" | grep -q 'PyTorch ms' || fail "no column for PyTorch"
else
  printf '%s\n' "$output" | grep -q '^shoal: --peers torch: ' || fail "PyTorch is missing, but why?"
fi
finish
