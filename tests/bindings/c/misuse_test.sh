#!/bin/sh
# misuse_test.sh PROGRAM: whatever a caller in C does wrong ends in a code and a text, or ends the run with a line
# that says who is gone; never in a signal, and never in a wait without end.
program=$1
. "$SHOAL_SOURCE/tests/launch/expect.sh"
export SHOAL_FLIGHT_RECORDER=off

for ranks in 1 3; do
  for case in handles after_the_end fork arguments; do
    accepts '^good$' "$mpirun" -n "$ranks" --bind-to none --timeout 30 "$program" "$case"
  done
done
run "$mpirun" -n 3 --bind-to none --timeout 30 "$program" sizes
printf '%s\n' "$output" | grep -q '^good: .*all_reduce' || fail "sizes: status $status"

# Not by the time limit, and not by waiting for SHOAL_TIMEOUT.
begin=$(date +%s)
run "$mpirun" -n 3 --bind-to none --timeout 30 "$program" ends
took=$(($(date +%s) - begin))
[ "$status" -ne 0 ] || fail "ends: exit status 0"
printf '%s\n' "$output" | grep -Eq '^(shoal|told): .*rank 2' || fail "ends: nobody says that rank 2 is gone"
[ "$took" -lt 20 ] || fail "ends: took $took s"
finish
