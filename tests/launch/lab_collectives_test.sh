#!/bin/sh
# lab_collectives_test.sh SHOAL COLLECTIVES: the tests of the collectives over four real hosts with 2, 1,
# 3 and 1 ranks, whose data crosses links and not this machine's memory.
shoal=$1
collectives=$2
. "$(dirname "$0")/expect.sh"
. "$(dirname "$0")/lab_support.sh"
lab=c$$ # its own, whatever else runs on this machine
require_lab
trap 'stop_labs "$lab"' EXIT
trap 'exit 130' INT TERM

accepts . "$shoal" lab up --name "$lab" --hosts 4 --link 1gbit --no-calibration
# over PATTERN COMMAND...: on 2, 1, 3 and 1 ranks of the four hosts.
over() {
  wanted=$1
  shift
  accepts "$wanted" "$shoal" lab run --mpi-arg=--host --mpi-arg=h0:2,h1:1,h2:3,h3:1 \
    --ranks-per-host 3 -n 7 --name "$lab" -- "$@"
}
over '^ranks +7 on 4 hosts' shoal info

# Every algorithm; of the types and operations, which are the same code between hosts, one each of
# single and half precision and of integers.
over 'PASSED' "$collectives" \
  '--gtest_filter=*/f32_sum:*/bf16_avg:*/i32_max:*/f64:Special*:Laws*:Groups*:Barrier*:Registry*'
if printf '%s\n' "$output" | grep -q FAILED; then fail "a test failed"; fi

# The automatic choice gives the right sum at every size that the bench takes.
over ' 16M auto ' shoal bench allreduce --algorithm auto --min-bytes 16 --max-bytes 16M --seconds 0.05
run "$shoal" lab down --name "$lab"
[ "$status" -eq 0 ] || fail "down ends with $status"
nothing_left "$lab"
finish
