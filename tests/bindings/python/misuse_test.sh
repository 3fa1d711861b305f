#!/bin/sh
# misuse_test.sh PYTHON...: arrays of different sizes and ranks that fail alone end a run of the module shoal with a
# line that says so, long before any time limit.
python=$*  # and what is to stand in front of it
. "$SHOAL_SOURCE/tests/launch/expect.sh"
here=$SHOAL_SOURCE/tests/bindings/python
export SHOAL_FLIGHT_RECORDER=off

# fails STATUS|any REGEX SCRIPT [ARGUMENT...]
fails() {
  wanted=$1 pattern=$2
  shift 2
  begin=$(date +%s)
  run "$mpirun" -n 3 --bind-to none --timeout 60 $python -B "$here/$1" "$2"
  took=$(($(date +%s) - begin))
  [ "$status" -ne 0 ] || fail "$*: exit status 0"
  [ "$wanted" = any ] || [ "$status" -eq "$wanted" ] || fail "$*: exit status $status, not $wanted"
  printf '%s\n' "$output" | grep -Eq -e "$pattern" || fail "$*: no match for '$pattern'"
  [ "$took" -lt 25 ] || fail "$*: took $took s"
}
fails any '^shoal.*Error: .*all_reduce.*(99|100)' sizes.py ''
# Pieces of the others' tracebacks may stand before it.
printf '%s\n' "$output" | grep -q 'told$' || fail "no rank was told"
fails 5 '^told$' sizes.py handled
fails any '^ValueError: on purpose' one_fails.py raises
fails any '^shoal: .*rank 2' one_fails.py exits
fails any '^shoal: .*rank 2|signal 9' one_fails.py killed
finish
