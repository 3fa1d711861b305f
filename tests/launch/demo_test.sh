#!/bin/sh
# launch/demo from end to end, with few steps, in the build folder that is there already.
. "$(dirname "$0")/expect.sh"
export SHOAL_BUILT=1  # nothing may be linked anew while other tests run

awk 'BEGIN { for (i = 0; i < 2000; i++) printf "the %d fish swim in a shoal\n", i % 10 }' >text.txt
accepts '^Equivalence: 2 one-core ranks do [0-9]+\.[0-9]+ times the work of one [0-9]+-core process\.$' \
  "$SHOAL_SOURCE/launch/demo" --ranks 2 --iters 20 --data text.txt --out two
for line in '^What the model writes:' '^2 ranks of one core, dp=1,tp=2 +[0-9]+ +[0-9.]+ +[0-9]+ %' \
  '^1 process of [0-9]+ cores? +[0-9]+ +[0-9.]+ +-' '^Loss: [0-9.]+ at the first step, [0-9.]+ at the end'; do
  printf '%s\n' "$output" | grep -Eq -e "$line" || fail "no line like '$line'"
done
# Without --data it learns the headers of the compiler.
accepts '^Training a GPT on /.*c\+\+' "$SHOAL_SOURCE/launch/demo" --ranks 1 --iters 2 --out one
run "$SHOAL_SOURCE/launch/demo" --out one
[ "$status" -eq 2 ] || fail "writes into a folder that is there"

finish
