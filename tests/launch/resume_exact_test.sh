#!/bin/sh
# resume_exact_test.sh SHOAL quick|full: a run that is killed with SIGKILL at a random step and resumed
# on the same mesh has, step by step, the losses of a run that nothing happened to: to the last bit.
shoal=$1
extent=$2
. "$(dirname "$0")/expect.sh"

seed=${SHOAL_TEST_SEED:-$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')}
echo "seed $seed (SHOAL_TEST_SEED brings it back)"
awk 'BEGIN { for (i = 0; i < 2000; i++) printf "the %d fish swim in a shoal\n", i % 10 }' >text.txt
iters=60
model="--data text.txt --tokenizer char --n-layer 2 --n-head 2 --n-embd 64 --block-size 32
  --batch-size 8 --grad-accum 2 --dropout 0.2 --learning-rate 1e-2 --warmup-iters 2
  --max-iters $iters --eval-interval 0 --progress plain --log-interval 100"

# losses LOG: "step loss" of every line that has one, as it is written.
losses() {
  sed -n 's/^{"step":\([0-9]*\),"loss":\([^,]*\),.*/\1 \2/p' "$1"
}

# run_and_kill NAME RANKS STEP: starts the run and kills one rank, at random, after that step; mpirun
# ends the others. False if the run was quicker.
run_and_kill() {
  rm -rf "$1" "$1.json"
  # shellcheck disable=SC2086  # $flags is a list of words
  "$mpirun" -n "$2" "$shoal" train $flags --checkpoint-interval 3 --out-dir "$1" --log-json "$1.json" \
    >"$1.log" 2>&1 </dev/null &
  run_id=$!
  waited=0
  while [ ! -e "$1.json" ] || [ "$(grep -c . "$1.json")" -le "$3" ]; do
    waited=$((waited + 1))
    [ $waited -lt 3000 ] && kill -0 $run_id 2>/dev/null || break
    sleep 0.01
  done
  children=$(cat "/proc/$run_id/task/$run_id/children" 2>/dev/null)
  victim=$(echo "$children" | awk -v pick="$seed" '{ if (NF) print $(pick % NF + 1) }')
  [ -z "$victim" ] || kill -9 "$victim" 2>/dev/null
  wait $run_id
  ! grep -q '^done' "$1.log"
}

# try RANKS MESH TYPE
try() {
  ranks=$1 mesh=$2 type=$3
  name=$mesh-$type
  seed=$(((seed * 75 + 74) % 65537))
  kill_at=$((seed % 40 + 4))
  flags="$model --dtype $type --mesh $mesh --seed $seed"
  # shellcheck disable=SC2086  # $flags is a list of words
  accepts 'done' "$mpirun" -n "$ranks" "$shoal" train $flags --checkpoint-interval 0 \
    --out-dir "$name-ref" --log-json "$name-ref.json"
  until run_and_kill "$name" "$ranks" "$kill_at"; do
    kill_at=$((kill_at / 2))
    [ $kill_at -gt 0 ] || { fail "$name: the run ends before it can be killed"; return; }
  done
  # Killed before the first checkpoint was there, the run begins anew.
  resume=--resume
  ls -d "$name"/step-* >/dev/null 2>&1 || resume=
  steps_before=$(grep -c . "$name.json")
  # shellcheck disable=SC2086
  accepts 'done' "$mpirun" -n "$ranks" "$shoal" train $flags --checkpoint-interval 3 --out-dir "$name" \
    --log-json "$name.json" $resume
  echo "$name: killed after $steps_before steps; $(printf '%s\n' "$output" | grep '^resumed')"
  losses "$name-ref.json" | sort -u >"$name-ref.losses"
  losses "$name.json" | sort -u >"$name.losses"
  [ "$(wc -l <"$name-ref.losses")" -eq $iters ] || fail "$name: the undisturbed run is not whole"
  cmp -s "$name-ref.losses" "$name.losses" ||
    fail "$name: the losses differ: $(diff "$name-ref.losses" "$name.losses" | head -n 4)"
  accepts 'whole' "$shoal" checkpoint verify "$name"
  leftovers=$(find "$name" -maxdepth 1 -name '.unfinished*')
  [ -z "$leftovers" ] || fail "$name: left behind: $leftovers"
}

if [ "$extent" = full ]; then
  for type in fp32 bf16; do
    try 1 dp=1 $type
    try 2 dp=2 $type
    try 2 tp=2 $type
    try 2 pp=2 $type
  done
else
  try 2 dp=2 bf16
  try 2 tp=2 fp32
  try 2 pp=2 bf16
fi

finish
