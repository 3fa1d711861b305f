#!/bin/sh
# tune_test.sh SHOAL: shoal tune writes a table, later runs take it, and a bad one harms nobody.
shoal=$1
. "$(dirname "$0")/expect.sh"
unset SHOAL_TUNING
XDG_CONFIG_HOME=$PWD/config
export XDG_CONFIG_HOME
table=$XDG_CONFIG_HOME/shoal/tuning.json

ranks() {
  "$mpirun" -n 3 --bind-to none "$@"
}
# A run that tells of its choices: one all-reduce of 64 bytes, some of 8.
told() {
  SHOAL_LOG=${1:-collectives} ranks -x SHOAL_LOG "$shoal" bench collectives --ops all_reduce \
    --sizes 64 --algorithms auto --seconds-per-size 0.001
}

rejects 'one rank.*all ranks' "$shoal" tune
mkdir -p blocked
: >blocked/file
rejects 'tune.*blocked/file.*--output' ranks "$shoal" tune --output blocked/file/table.json

accepts "written to $table" ranks "$shoal" tune --max-bytes 512 --seconds-per-size 0.001 --what table
[ -f "$table" ] || fail "no table"
[ ! -e "$table.new" ] || fail "something is left behind"
for word in shoal-tuning-1 processor date hosts mpi within_node node.stage_bytes barrier; do
  grep -q "$word" "$table" || fail "the table does not tell of $word"
done

# Found by itself; the choice and why, from one rank, once.
accepts 'collectives|all_reduce over world \(3 ranks, 1 node\), 64 to 127 bytes: ' told
lines=$(printf '%s\n' "$output" | grep -c 'all_reduce over world .* 64 to 127 bytes')
[ "$lines" -eq 1 ] || fail "the choice is told $lines times"
run told info
printf '%s\n' "$output" | grep -q 'to 127 bytes' && fail "the choice is told unasked"

# Another algorithm, where the table says so for buffers of both kinds.
cat >ring.json <<TABLE
{"format": "shoal-tuning-1", "provenance": {"processor": "$(grep -o '"processor": "[^"]*"' "$table" |
  sed 's/.*: "//; s/"$//')"}, "levels": [], "parameters": {}, "choices": [
 {"operation": "all_reduce", "ranks": 3, "nodes": 1, "memory": "local",
  "points": [{"bytes": 64, "algorithm": "ring", "us": {"ring": 1.5}}]}]}
TABLE
SHOAL_TUNING=$PWD/ring.json
export SHOAL_TUNING
accepts '64 to 127 bytes: ring: measured at 64 bytes: ring 1.5 us' told

# Damaged, foreign, missing: a warning that says which and why, and the run goes on.
warns() {
  SHOAL_TUNING=$PWD/$1
  accepts "warning: .*$1.*$2.*cost model" told
}
head -c 200 ring.json >cut.json
warns cut.json 'not JSON'
sed 's/"processor": "/&Some other /' ring.json >foreign.json
warns foreign.json 'measured on Some other'
sed 's/tuning-1/tuning-9/' ring.json >newer.json
warns newer.json 'format'
warns nowhere.json 'No such file'
SHOAL_TUNING=off
run told
printf '%s\n' "$output" | grep -q 'warning' && fail "no table is no reason to warn"
printf '%s\n' "$output" | grep -q '64 to 127 bytes: node: ' || fail "without a table it is the node's memory"

# A profile of two ranks, which the planner takes, and the check compares with.
SHOAL_TUNING=$table
profile=$XDG_CONFIG_HOME/shoal/tuning.profile.json
two() {
  "$mpirun" -n 2 --bind-to none "$@"
}
rejects 'no profile.*shoal tune' two "$shoal" plan --check
accepts "profile is $profile" two "$shoal" tune --what profile --quick
accepts 'tokens/s on 2 devices' "$shoal" plan --model gpt2 --cluster "$profile" --global-batch 4 --context 64
accepts '"median_error"' two "$shoal" plan --check --configs nano --dtype fp32 --steps-only --json
rejects 'profile is of 2 ranks' ranks "$shoal" plan --check --cluster "$profile"
rejects 'was not measured' two "$shoal" plan --check --cluster epyc-9965-10g
rejects 'nowhere' two "$shoal" plan --check --cluster nowhere
rejects 'nowhere' two "$shoal" plan --check --configs nowhere

# The mesh of a training: by that profile; without one, and where there is none to have, it says so.
yes 'the fish swim in a shoal' | head -500 >text.txt
set -- train --data text.txt --n-layer 1 --n-head 2 --n-embd 16 --block-size 8 --batch-size 4 \
  --max-iters 1 --eval-interval 0 --dry-run --mesh auto
accepts 'auto: .* a step, by the profile of shoal tune; ' two "$shoal" "$@"
accepts 'auto: there is one rank' "$shoal" "$@"
accepts 'auto: (the default, since ranks share|.* by a short measurement)' ranks "$shoal" "$@"
finish
