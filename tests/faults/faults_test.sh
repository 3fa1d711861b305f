#!/bin/sh
# faults_test.sh VICTIM quick|more: a rank dies, stops, throws or disagrees; the run ends by itself,
# says once who and where, and leaves nothing behind.
victim=$1
part=$2
. "$SHOAL_SOURCE/tests/launch/expect.sh"
export SHOAL_FLIGHT_RECORDER="$SHOAL_WORK/records"

# No process of the last run is left; killed ones may need a moment to go.
nothing_left() {
  for pid in $(printf '%s\n' "$output" | awk '$1 == "pid" { print $2 }'); do
    tries=0
    while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 100 ]; do
      sleep 0.1
      tries=$((tries + 1))
    done
    kill -0 "$pid" 2>/dev/null && fail "process $pid is left"
  done
}

# ends REGEX FATE: the run fails, and exactly one line of Shoal's own matches.
ends() {
  pattern=$1
  fate=$2
  rm -rf "$SHOAL_FLIGHT_RECORDER"
  run "$mpirun" -n 3 --timeout 30 "$victim" "$fate"
  said=$(printf '%s\n' "$output" | grep -c '^shoal: ')
  [ "$status" -ne 0 ] || fail "$fate: exit status 0"
  [ "$said" -eq 1 ] || fail "$fate: $said lines that begin with 'shoal: ', not 1"
  printf '%s\n' "$output" | grep '^shoal: ' | grep -Eq -e "$pattern" || fail "$fate: no match for '$pattern'"
  printf '%s\n' "$output" | grep -q 'time limit' && fail "$fate: the run had to be ended"
  nothing_left
}

# The file of records is JSON, and knows of the all-reduce.
recorded() {
  set -- "$SHOAL_FLIGHT_RECORDER"/shoal-flight-*.json
  if [ ! -f "$1" ]; then
    fail "$fate: no file of records"
  elif [ $# -ne 1 ]; then
    fail "$fate: $# files of records, not 1"
  elif ! grep -q '"operation": "all_reduce"' "$1" || ! grep -q '"communicator": "school"' "$1"; then
    fail "$fate: the file of records does not know of the all_reduce"
  elif command -v python3 >/dev/null && ! python3 -m json.tool "$1" >/dev/null; then
    fail "$fate: the file of records is no JSON"
  fi
}

# told_at_once FATE: from the strike to the line no more than 2 s, of which the others' waiting in vain
# would take all. The machine may be busy: the best of four counts.
told_at_once() {
  fate=$1
  for attempt in 1 2 3 4; do
    "$mpirun" -n 3 --timeout 30 "$victim" "$fate" 2>&1 </dev/null | while read -r line; do
      case $line in
        struck | 'shoal: '*) echo "$(date +%s%N) $line" ;;
      esac
    done >told.txt
    took=$(awk '/ struck$/ { struck = $1 } / shoal: / { told = $1 }
      END { print struck && told ? int((told - struck) / 1e6) : "none" }' told.txt)
    echo "$fate: told after $took ms"
    if [ "$took" != none ] && [ "$took" -lt 2000 ]; then return; fi
  done
  output=$(cat told.txt)
  fail "$fate: told $took ms after the strike"
}

host=$(hostname)
waits='ranks 0, 1 waited in all_reduce #20 over school'
# Long enough for a watch to beat on a busy machine.
export SHOAL_SILENCE=3 SHOAL_TIMEOUT=15

if [ "$part" = quick ]; then
  ends "rank 2 on $host died.*$waits" kill
  recorded
  ends "rank 2 on $host is silent.*$waits" stop
  recorded
  ends "rank 2 on $host: victim: fate has struck.*all_reduce #19.*$waits" throw
  recorded
  told_at_once throw
  # The main thread may do as it likes; the others are told whom they wait for.
  accepts 'all rounds done' "$mpirun" -n 3 --timeout 30 "$victim" compute
  printf '%s\n' "$output" |
    grep -Eq "has waited .* in all_reduce #20 over school.*rank 2 on .* computed after" ||
    fail "compute: the others are not told whom they wait for"
  # Ranks that disagree, where only checked mode can see it.
  export SHOAL_CHECK=1 SHOAL_NODE_MEMORY=off
  ends 'rank 0 .* all_reduce #20 of 1000 f32 .*, but rank 2 .* of 900 f32' length
  ends "all_to_all #20 over school: rank 2 on $host sends 31 elements to rank 0 on $host, which expects 30" uneven
  finish
fi

ends "rank 2 on $host died.*$waits" exit
ends "rank 2 on $host is silent.*#21" blocking
ends "rank 2 on $host was ended by SIGTERM.*$waits" term
ends "rank 2 on $host: memory is exhausted.*$waits" memory
ends "rank 0 on $host died" finalize
SHOAL_TIMEOUT=2
ends "did not answer within 2 s.*rank 2 computed after all_reduce #19 over school" hang
SHOAL_TIMEOUT=15

export SHOAL_CHECK=1 SHOAL_NODE_MEMORY=off
ends 'rank 0 .* of 1000 f32 .*, but rank 2 .* of 1000 i32' type
ends 'rank 0 .* all_reduce #20 .*, but rank 2 .* called barrier #20' order
SHOAL_TIMEOUT=2
ends 'did not answer.*#20 over school' other
unset SHOAL_CHECK SHOAL_NODE_MEMORY
SHOAL_TIMEOUT=15

# Settings without sense are refused, once.
export SHOAL_WAIT=politely
rejects 'SHOAL_WAIT.*politely' "$mpirun" -n 2 "$victim" none
unset SHOAL_WAIT
SHOAL_SILENCE=-1
rejects 'SHOAL_SILENCE' "$mpirun" -n 2 "$victim" none

finish
