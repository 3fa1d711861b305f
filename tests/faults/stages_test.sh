#!/bin/bash
# stages_test.sh SHOAL: a stage of a pipeline is killed while it trains. The run ends by itself, says once
# who it was, and leaves nothing; with --restarts it goes on from the newest checkpoint.
shoal=$1
. "$SHOAL_SOURCE/tests/launch/expect.sh"
export SHOAL_TIMEOUT=10 SHOAL_SILENCE=3 SHOAL_FLIGHT_RECORDER=off

awk 'BEGIN { for (i = 0; i < 2000; i++) printf "the %d fish swim in a shoal\n", i % 10 }' >text.txt
out="$SHOAL_WORK/out" # the whole path: nobody else's command line has it
flags=(--data text.txt --tokenizer char --n-layer 2 --n-head 2 --n-embd 32 --block-size 32
  --batch-size 3 --grad-accum 3 --eval-interval 0 --checkpoint-interval 10 --progress plain
  --log-interval 1 --mesh pp=2 --out-dir "$out")

# The processes that train into the folder: only ours, told by their command line.
workers() {
  local pid
  for pid in $(pgrep -f -- "train .*--out-dir $out" || true); do
    [ "$(readlink "/proc/$pid/exe")" = "$shoal" ] &&
      tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -q '^OMPI_COMM_WORLD_RANK=' && echo "$pid"
  done
}
rank_of() { tr '\0' '\n' <"/proc/$1/environ" 2>/dev/null | sed -n 's/^OMPI_COMM_WORLD_RANK=//p'; }
# kill_after RANK STEP LOG LAUNCHER: once that step is in the log.
kill_after() {
  local pid
  while ! grep -qs "step *$2 " "$3" && kill -0 "$4" 2>/dev/null; do sleep 0.02; done
  for pid in $(workers); do
    [ "$(rank_of "$pid")" = "$1" ] && kill -s KILL "$pid"
  done
}
ends_within() { # SECONDS PID
  local start=$SECONDS
  while kill -0 "$2" 2>/dev/null && [ $((SECONDS - start)) -lt "$1" ]; do sleep 0.05; done
  ! kill -0 "$2" 2>/dev/null
}

for victim in 0 1; do
  # The log too: the shell in the background empties it only once it has a turn.
  rm -rf "$out" log.txt
  "$mpirun" -n 2 "$shoal" train "${flags[@]}" --max-iters 100000 >log.txt 2>&1 </dev/null &
  launcher=$!
  kill_after "$victim" 5 log.txt "$launcher"
  if ! ends_within 40 "$launcher"; then
    fail "rank $victim was killed, and the run does not end"
    kill -s KILL $(workers)
  fi
  wait "$launcher"
  status=$?
  output=$(cat log.txt)
  [ "$status" -ne 0 ] || fail "rank $victim was killed, and the status is 0"
  said=$(printf '%s\n' "$output" | grep -c '^shoal: ')
  [ "$said" -eq 1 ] || fail "$said lines that begin with 'shoal: ', not 1"
  printf '%s\n' "$output" | grep '^shoal: ' | grep -q "rank $victim" || fail "rank $victim is not named"
  sleep 0.3
  left=$(workers)
  [ -z "$left" ] || fail "processes are left: $left"
done

rm -rf "$out" log.txt
"$shoal" run -n 2 --restarts 1 -- train "${flags[@]}" --max-iters 600 >log.txt 2>&1 </dev/null &
launcher=$!
kill_after 1 25 log.txt "$launcher"
ends_within 80 "$launcher" || fail "no end after the restart"
wait "$launcher"
status=$?
output=$(cat log.txt)
[ "$status" -eq 0 ] || fail "the restarted run ended with status $status"
printf '%s\n' "$output" | grep -q 'resumed at step' || fail "it did not go on from a checkpoint"
printf '%s\n' "$output" | grep -q 'done after 600 steps' || fail "it was not done"
finish
