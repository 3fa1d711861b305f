#!/bin/sh
# train_test.sh SHOAL: training, resuming and writing as a person would do it.
shoal=$1
. "$(dirname "$0")/expect.sh"

awk 'BEGIN { for (i = 0; i < 2000; i++) printf "the %d fish swim in a shoal\n", i % 10 }' >text.txt
model="--data text.txt --tokenizer char --n-layer 1 --n-head 2 --n-embd 16 --block-size 16
  --batch-size 4 --dropout 0 --eval-iters 2 --learning-rate 1e-2 --warmup-iters 2 --lr-decay-iters 40"

# loss LOG STEP: of a step in a --log-json file.
loss() {
  awk -v step="$2" 'index($0, "\"step\":" step ",") && match($0, /"loss":[-+0-9.eE]+/) {
    print substr($0, RSTART + 7, RLENGTH - 7); exit }' "$1"
}
# same A B TOLERANCE: two losses agree, relative to their size.
same() {
  awk -v a="$1" -v b="$2" -v t="$3" 'BEGIN {
    if (a == "" || b == "") exit 1
    d = a - b; if (d < 0) d = -d
    exit !(d <= t * a) }' || fail "losses $1 and $2 differ by more than $3"
}

# shellcheck disable=SC2086  # $model is a list of words
{
  accepts . "$shoal" train $model --max-iters 40 --eval-interval 20 --out-dir one --log-json one.json
  accepts . "$mpirun" -n 2 "$shoal" train $model --max-iters 40 --eval-interval 20 --mesh tp=2 \
    --out-dir two --log-json two.json
  same "$(loss one.json 0)" "$(loss two.json 0)" 1e-4
  same "$(loss one.json 39)" "$(loss two.json 39)" 1e-3
  awk -v a="$(loss one.json 0)" -v b="$(loss one.json 39)" 'BEGIN { exit !(b < 0.8 * a) }' ||
    fail "the loss has not fallen: $(loss one.json 0) to $(loss one.json 39)"
  grep -q '"val_loss"' one.json || fail "no val_loss in the log"

  # In stages: said before, in the log and in the trace; and a checkpoint for any other mesh.
  stages="$(echo $model | sed 's/n-layer 1/n-layer 2/') --grad-accum 2 --eval-interval 12"
  accepts . "$shoal" train $stages --max-iters 12 --out-dir plain --log-json plain.json
  accepts '^stages  1\+1 layers; with 2 micro-batches a step a stage waits 33% .*--grad-accum' \
    "$mpirun" -n 2 "$shoal" train $stages --max-iters 12 --mesh pp=2 --out-dir stages \
    --log-json stages.json --trace trace.json
  same "$(loss plain.json 0)" "$(loss stages.json 0)" 1e-4
  same "$(loss plain.json 11)" "$(loss stages.json 11)" 1e-3
  grep -q '"bubble":0\.' stages.json || fail "no bubble in the log"
  grep -q '"bubble"' plain.json && fail "a bubble where there are no stages"
  for word in 'pipeline bubble' '"ph":"b","name":"send"' '"ph":"e","name":"receive"'; do
    grep -q -e "$word" trace.json || fail "no $word in the trace"
  done
  if command -v python3 >/dev/null && ! python3 -m json.tool trace.json >/dev/null; then
    fail "the trace is no JSON"
  fi
  accepts 'resumed at step 12' "$shoal" train $stages --max-iters 14 --resume --out-dir stages
  accepts 'the' "$mpirun" -n 2 "$shoal" generate --checkpoint plain --prompt 'the ' \
    --max-new-tokens 20 --seed 3 --mesh pp=2
  first=$output
  accepts 'the' "$shoal" generate --checkpoint plain --prompt 'the ' --max-new-tokens 20 --seed 3
  [ "$first" = "$output" ] || fail "stages write another text: $first"

  # Half the way on one mesh, the rest on another: the same as without a break.
  accepts . "$mpirun" -n 2 "$shoal" train $model --max-iters 20 --eval-interval 20 --mesh dp=2 \
    --out-dir half --log-json half1.json
  accepts . "$shoal" train $model --max-iters 40 --eval-interval 20 --resume --out-dir half \
    --log-json half2.json
  same "$(loss one.json 39)" "$(cat half1.json half2.json >half.json; loss half.json 39)" 1e-3

  # Text from a checkpoint, the same on any mesh.
  accepts 'the' "$shoal" generate --checkpoint two --prompt 'the ' --max-new-tokens 40 --seed 3
  first=$output
  accepts 'the' "$mpirun" -n 2 "$shoal" generate --checkpoint two --prompt 'the ' --max-new-tokens 40 \
    --seed 3
  [ "$first" = "$output" ] || fail "two meshes write different texts; the first wrote: $first"

  # A damaged checkpoint is named; one that cannot be written leaves the one before it.
  newest=$(find two -name 'shard-00000.safetensors' | sort | tail -n 1)
  truncate -s -1 "$newest"
  rejects "$newest" "$shoal" generate --checkpoint "$(dirname "$newest")"
  mkdir locked
  : >locked/out
  run "$shoal" train $model --max-iters 2 --eval-interval 0 --out-dir locked/out
  [ "$status" -ne 0 ] || fail "trained into an out-dir that is a file"
  printf '%s\n' "$output" | grep -q '^shoal: .*locked/out' || fail "the out-dir is not named"
}

finish
