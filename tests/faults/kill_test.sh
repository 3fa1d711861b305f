#!/bin/bash
# kill_test.sh SHOAL MESH: training is killed at random moments and resumed until it is done. Every run ends
# by itself, no process stays, no checkpoint is lost, and every loss is that of a run left alone, to
# the last digit.
#
#   SHOAL_KILLS      how many kills (10)
#   SHOAL_TEST_SEED  of rank, moment and signal; printed
shoal=$1
mesh=$2 # of three ranks
. "$SHOAL_SOURCE/tests/launch/expect.sh"

kills=${SHOAL_KILLS:-10}
seed=${SHOAL_TEST_SEED:-$(($(date +%s) % 100000))}
echo "$kills kills; run again with SHOAL_KILLS=$kills SHOAL_TEST_SEED=$seed"
RANDOM=$seed
ranks=3
limit=40 # s for a run to end after the kill, on a busy machine
export SHOAL_TIMEOUT=10 SHOAL_SILENCE=3 SHOAL_FLIGHT_RECORDER=off OMP_NUM_THREADS=1

awk 'BEGIN { for (i = 0; i < 2000; i++) printf "the %d fish swim in a shoal\n", i % 10 }' >text.txt
train() { # train OUT [FLAGS]
  local out=$1
  shift
  exec "$SHOAL_SOURCE/launch/mpirun" -n "$ranks" "$shoal" train --data text.txt --tokenizer char \
    --n-layer 3 --n-head 2 --n-embd 32 --block-size 32 --batch-size 3 --grad-accum 2 --eval-interval 0 \
    --checkpoint-interval 10 --max-iters "$iterations" --mesh "$mesh" --progress plain \
    --out-dir "$out" --log-json "$out.json" "$@"
}
# The last loss that was logged of each step; digits as printed, so equal means to the last bit.
losses() {
  awk 'match($0, /"step":[0-9]+/) { step = substr($0, RSTART + 7, RLENGTH - 7)
    if (match($0, /"loss":[-+0-9.eE]+/)) last[step] = substr($0, RSTART + 7, RLENGTH - 7) }
    END { for (step in last) print step, last[step] }' "$1" | sort -n
}
newest() {
  find "$1" -mindepth 2 -maxdepth 2 -path '*/step-*/manifest.json' 2>/dev/null |
    sed 's|.*/step-0*\([0-9]\{1,\}\)/.*|\1|' | sort -n | tail -n 1
}
# The processes that train into OUT: only ours, told by their command line.
workers() {
  local pid
  for pid in $(pgrep -f -- "train .*--out-dir $1 " || true); do
    case $(readlink "/proc/$pid/exe") in "$shoal") echo "$pid" ;; esac
  done
}
rank_of() { tr '\0' '\n' <"/proc/$1/environ" 2>/dev/null | sed -n 's/^OMPI_COMM_WORLD_RANK=//p'; }

iterations=300
run bash -c "$(declare -f train); shoal=$shoal ranks=$ranks mesh=$mesh iterations=$iterations; train calm"
[ "$status" -eq 0 ] || fail "the run left alone ended with status $status"
losses calm.json >calm.txt

signals=(KILL STOP SEGV ABRT TERM)
out="$SHOAL_WORK/storm" # the whole path: nobody else's command line has it
killed=0
while [ "$killed" -lt "$kills" ] && [ "$failures" -eq 0 ]; do
  # Training starts anew when it is done, until enough ranks have been killed.
  resume=()
  before=$(newest "$out")
  if [ -n "$before" ]; then resume=(--resume); else rm -rf "$out" "$out.json"; fi
  if [ "${before:-0}" -ge "$iterations" ]; then
    losses "$out.json" >storm.txt
    cmp -s calm.txt storm.txt || fail "the losses differ from the undisturbed run's: $(diff calm.txt storm.txt | head -n 4)"
    rm -rf "$out" "$out.json"
    continue
  fi
  victim=$((RANDOM % ranks))
  signal=${signals[RANDOM % ${#signals[@]}]}
  moment=$((RANDOM % 2500))
  early=$((RANDOM % 5)) # 0: counted from the launch, otherwise from the first step
  (train "$out" "${resume[@]}") >log.txt 2>&1 </dev/null &
  launcher=$!
  while [ "$early" -ne 0 ] && ! grep -q '^step ' log.txt && kill -0 "$launcher" 2>/dev/null; do
    sleep 0.05
  done
  sleep "$((moment / 1000)).$(printf %03d $((moment % 1000)))"
  hit=none
  for pid in $(workers "$out"); do
    if [ "$(rank_of "$pid")" = "$victim" ] && kill -s "$signal" "$pid" 2>/dev/null; then hit=$pid; fi
  done
  start=$SECONDS
  while kill -0 "$launcher" 2>/dev/null && [ $((SECONDS - start)) -lt "$limit" ]; do sleep 0.05; done
  output=$(cat log.txt)
  if kill -0 "$launcher" 2>/dev/null; then
    fail "SIG$signal of rank $victim after $moment ms: no end within $limit s"
    kill -s KILL $(workers "$out") # and by that the launcher ends
  fi
  wait "$launcher"
  status=$?
  sleep 0.2
  left=$(workers "$out")
  [ -z "$left" ] || fail "SIG$signal of rank $victim after $moment ms: processes are left: $left"
  after=$(newest "$out")
  [ "${after:-0}" -ge "${before:-0}" ] || fail "checkpoint of step $before is lost, the newest is ${after:-none}"
  if [ "$hit" != none ]; then
    killed=$((killed + 1))
    if [ "$status" -eq 0 ] && [ "${after:-0}" -lt "$iterations" ]; then
      fail "SIG$signal of rank $victim after $moment ms: exit status 0, but not done"
    fi
    said=$(printf '%s\n' "$output" | grep -c '^shoal: ')
    echo "kill $killed: SIG$signal of rank $victim after $moment ms: status $status, $said message(s), ended in $((SECONDS - start)) s, checkpoint ${before:-none} -> ${after:-none}"
  elif [ "$status" -ne 0 ]; then
    fail "nobody was killed, but the status is $status"
  fi
done

# The end of the storm: what is left of the last run is done in calm.
if [ "$failures" -eq 0 ]; then
  resume=()
  if [ -n "$(newest "$out")" ]; then resume=(--resume); else rm -rf "$out" "$out.json"; fi
  (train "$out" "${resume[@]}") >log.txt 2>&1 </dev/null
  status=$?
  output=$(cat log.txt)
  [ "$status" -eq 0 ] || fail "the last run ended with status $status"
  losses "$out.json" >storm.txt
  cmp -s calm.txt storm.txt || fail "the losses differ from the undisturbed run's: $(diff calm.txt storm.txt | head -n 4)"
fi
finish
