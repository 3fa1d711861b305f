#!/bin/sh
# many_ranks_test.sh SHOAL RANKS: so many ranks on one machine start, meet, and learn what one rank
# learns, and none of them takes much more memory for the number of the others.
shoal=$1
ranks=$2
. "$(dirname "$0")/expect.sh"

awk 'BEGIN { for (i = 0; i < 2000; i++) printf "the %d fish swim in a shoal\n", i % 10 }' >text.txt
model="--data text.txt --tokenizer char --n-layer 2 --n-head 4 --n-embd 32 --block-size 16
  --batch-size $ranks --dropout 0 --eval-interval 0 --warmup-iters 0 --learning-rate 1e-3 --max-iters 2"
loss() {
  awk 'match($0, /"loss":[-+0-9.eE]+/) { value = substr($0, RSTART + 7, RLENGTH - 7) } END { print value }' "$1"
}

# shellcheck disable=SC2086  # $model is a list of words
{
  accepts 'done after 2' "$shoal" train $model --out-dir one --log-json one.json
  for mesh in "dp=$((ranks / 2)),tp=2" "dp=$((ranks / 4)),tp=4"; do
    accepts 'done after 2' "$mpirun" -n "$ranks" "$shoal" train $model --mesh "$mesh" \
      --out-dir "out-$mesh" --log-json many.json
    awk -v a="$(loss one.json)" -v b="$(loss many.json)" 'BEGIN {
      d = a - b; if (d < 0) d = -d
      exit !(a != "" && b != "" && d <= 1e-4 * a) }' ||
      fail "the loss of $mesh is $(loss many.json), that of one rank $(loss one.json)"
  done
}
accepts "$ranks ranks  training" "$mpirun" -n "$ranks" "$shoal" bench start --json start.json
grep -o '"memory_share_most_bytes":[ ]*[0-9.e+]*' start.json | sed 's/.*: *//' |
  awk '{ if ($1 > 64e6) bad = 1; n++ } END { exit !(n == 3 && !bad) }' ||
  fail "a rank takes more than 64 MB: $(cat start.json)"
finish
