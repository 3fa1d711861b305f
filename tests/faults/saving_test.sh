#!/bin/sh
# saving_test.sh SAVER: a checkpoint that cannot be written is a warning, and training goes on; a rank
# that is lost meanwhile ends the run, with one line that says so.
saver=$1
. "$SHOAL_SOURCE/tests/launch/expect.sh"
export SHOAL_FLIGHT_RECORDER=off

# lost REGEX FATE [sync]: the run ends, and exactly one line of Shoal's own matches.
lost() {
  pattern=$1
  fate="$2 $3"
  rm -rf out
  # shellcheck disable=SC2086  # $3 may be empty
  run "$mpirun" -n 3 --timeout 60 "$saver" "$2" out $3
  said=$(printf '%s\n' "$output" | grep -c '^shoal: ')
  [ "$status" -ne 0 ] || fail "$fate: exit status 0"
  [ "$said" -eq 1 ] || fail "$fate: $said lines that begin with 'shoal: ', not 1"
  printf '%s\n' "$output" | grep '^shoal: ' | grep -Eq -e "$pattern" || fail "$fate: no match for '$pattern'"
  printf '%s\n' "$output" | grep -q 'training goes on' && fail "$fate: a lost rank is taken for a full disk"
  printf '%s\n' "$output" | grep -q 'time limit' && fail "$fate: the run had to be ended"
  printf '%s\n' "$output" | grep -q 'all steps done' && fail "$fate: trained to the end"
}

host=$(hostname)
for mode in '' sync; do
  export SHOAL_SILENCE=2 SHOAL_TIMEOUT=30
  lost "rank 2 on $host died.*ranks 0, 1 waited in" kill "$mode"
  lost "rank 2 on $host is silent.*ranks 0, 1 waited in" stop "$mode"
  # It lives, its watch beats, and yet it does not come.
  export SHOAL_TIMEOUT=4
  lost "did not answer within 4 s.*rank 2" hang "$mode"

  rm -rf out
  # shellcheck disable=SC2086
  accepts 'all steps done' "$mpirun" -n 3 --timeout 60 "$saver" blocked out $mode
  warned=$(printf '%s\n' "$output" | grep -c 'training goes on')
  [ "$warned" -eq 1 ] || fail "$warned warnings of a checkpoint that cannot be written, not 1 (${mode:-async})"
  [ -f out/step-00000008/manifest.json ] || fail "no checkpoint at the end (${mode:-async})"
done

finish
