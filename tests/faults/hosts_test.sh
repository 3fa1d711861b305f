#!/bin/sh
# hosts_test.sh SHOAL VICTIM: whole hosts in trouble, in a lab. One is cut off in the middle of a
# training or of an all-reduce: the run ends everywhere, on that host too, within the time of
# docs/environment.md, and one line says who is lost; with --restarts it goes on without that host. One
# has no memory left.
shoal=$1
victim=$2
. "$SHOAL_SOURCE/tests/launch/expect.sh"
. "$SHOAL_SOURCE/tests/launch/lab_support.sh"
lab=f$$ # its own, whatever else runs on this machine
require_lab
trap 'stop_labs "$lab"' EXIT
trap 'exit 130' INT TERM
seed=${SHOAL_TEST_SEED:-$$}
echo "run again with SHOAL_TEST_SEED=$seed"

export SHOAL_SILENCE=4 SHOAL_TIMEOUT=30
limit=$((SHOAL_SILENCE + 30)) # s from the cut to the end, on every host
holders=4                     # three hosts and the switch

awk 'BEGIN { for (i = 0; i < 2000; i++) printf "the %d fish swim in a shoal\n", i % 10 }' >text.txt
model="--data text.txt --tokenizer char --n-layer 1 --n-head 2 --n-embd 16 --block-size 16 --batch-size 6
  --dropout 0 --mesh dp=3 --eval-interval 0 --warmup-iters 2"
model=$(echo $model) # on one line

# Where the kernel limits memory, h2 has some, and half a core.
limits=
for folder in $(awk '$3 == "cgroup" && ("," $4 ",") ~ /,memory,/ || $3 == "cgroup2" { print $2 }' /proc/self/mounts); do
  [ -z "$limits" ] && mkdir "$folder/shoal-test.$lab" 2>/dev/null || continue
  # Version 2 has the file where memory is among the controllers of the root.
  if [ -e "$folder/shoal-test.$lab/memory.limit_in_bytes" ] || grep -qs memory "$folder/cgroup.controllers"; then
    limits="--host 2:memory=700M,cpu=0.5"
  fi
  rmdir "$folder/shoal-test.$lab"
done
# shellcheck disable=SC2086  # $limits is a list of words
accepts . "$shoal" lab up --name "$lab" --hosts 3 --no-calibration $limits

# start LOG WORDS...: shoal run over the three hosts, from h0, in the background as $job. What
# `lab run` sets for mpirun is set here.
start() {
  log=$1
  shift
  cat >"$log.sh" <<END
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=tcp,self,vader
export OMPI_MCA_btl_tcp_if_include=lab0 OMPI_MCA_oob_tcp_if_include=lab0
export TMPDIR=/run/shoal-lab/$lab/h0 OMP_NUM_THREADS=1 SHOAL_WAIT=yield
cd "$PWD"
exec "$shoal" run --hosts h0:1,h1:1,h2:1 --rsh-agent "$shoal lab agent $lab" $*
END
  SHELL=/bin/sh "$shoal" lab shell h0 --name "$lab" <"$log.sh" >"$log" 2>&1 &
  job=$!
}

# cut_in_the_middle REGEX: once the log has such a line and a random moment has passed.
cut_in_the_middle() {
  wait_until "grep -Eq '$1' '$log'" || fail "does not begin: $(cat "$log")"
  seed=$((seed * 16807 % 2147483647))
  sleep "0.$((seed % 10))"
  "$shoal" lab cut h2 --name "$lab"
  cut_at=$(date +%s)
}

# Whoever runs in the lab beside those who hold it.
left_over() {
  lab_groups "$lab." | while read -r group; do
    for pid in $(cat "$group/cgroup.procs"); do
      tr '\0' ' ' <"/proc/$pid/cmdline" | grep -v 'lab hold' | sed "s|^|${group##*.}: |"
    done
  done
}

# The run has ended on every host, in time; its output and status.
all_ends() {
  wait_until "! kill -0 $job 2>/dev/null" || fail "$log: no end"
  wait "$job"
  status=$?
  took=$(($(date +%s) - cut_at))
  wait_until "[ \$(processes_in $lab) -eq $holders ]"
  quiet=$(($(date +%s) - cut_at))
  echo "$log: the starter ended $took s after the cut, the last process of any host $quiet s after it"
  output=$(cat "$log")
  [ "$status" -ne 0 ] || fail "$log: exit status 0"
  [ "$took" -le "$limit" ] || fail "$log: ended after $took s, not within $limit"
  [ "$quiet" -le "$limit" ] || fail "$log: processes after $limit s: $(left_over)"
}

# says_once REGEX: one line of Shoal's own, which matches.
says_once() {
  said=$(grep -c '^\[[0-9]*@h[0-9]\] shoal: ' "$log")
  [ "$said" -eq 1 ] || fail "$log: $said lines that begin with 'shoal: ', not 1"
  grep '^\[[0-9]*@h[0-9]\] shoal: ' "$log" | grep -Eq -e "$1" || fail "$log: no match for '$1'"
}
# The two others may be one call apart: then each is told of by itself.
lost='rank 2 on h2 is silent.* ranks? 0.* waited in'

# In training.
start cut.log -- train "$model" --max-iters 1000000 --checkpoint-interval 50 --out-dir cut
cut_in_the_middle '\] step +[0-9]+ +loss'
all_ends
says_once "$lost [a-z_]+ #[0-9]+ over [a-z]+"
accepts '^$' "$shoal" lab heal h2 --name "$lab"

# In an all-reduce of 16 MiB, which is on its way most of the time.
start reduce.log -- "$victim" large
cut_in_the_middle '\] round 2'
all_ends
says_once "$lost all_reduce #[0-9]+ over school"
accepts '^$' "$shoal" lab heal h2 --name "$lab"

# A training that may start again goes on without the host, from its checkpoint.
start restart.log --restarts 1 -- train "$model" --max-iters 3000 --checkpoint-interval 20 --out-dir restart
wait_until 'ls -d restart/step-* >/dev/null 2>&1' || fail "no checkpoint: $(cat restart.log)"
cut_in_the_middle '\] step +[0-9]+ +loss'
wait_until "grep -q 'starting again' restart.log" || fail "does not start again: $(cat restart.log)"
wait_until "! kill -0 $job 2>/dev/null" || wait_until "! kill -0 $job 2>/dev/null" ||
  fail "the second run does not end: $(cat restart.log)"
wait "$job"
status=$?
output=$(cat restart.log)
[ "$status" -eq 0 ] || fail "exit status $status of a training that lost a host"
grep -q 'starting again (1 of 1): 2 ranks on 2 hosts .*mesh dp=2; without h2; from the newest' restart.log ||
  fail "not started again on two hosts"
grep -q '\] resumed at step [1-9]' restart.log || fail "not resumed"
grep -q '\] done after 3000 steps' restart.log || fail "not to the end"
accepts '^$' "$shoal" lab heal h2 --name "$lab"

# The kernel ends a rank on a host that has no memory left.
if [ -z "$limits" ]; then
  echo "no limits are tried: there are no writable control groups for memory"
  finish
fi
accepts '"memory_bytes": 734003200' "$shoal" lab status --name "$lab" --json
printf '%s\n' "$output" | grep -q '"cpu": 0.5' || fail "the status does not know of the quota"
run "$shoal" lab run --name "$lab" -- "$victim" devour
[ "$status" -ne 0 ] || fail "exit status 0 although a rank's memory was exhausted"
said=$(printf '%s\n' "$output" | grep -c '^shoal: ')
[ "$said" -eq 1 ] || fail "$said lines that begin with 'shoal: ', not 1, when memory is exhausted"
printf '%s\n' "$output" | grep -Eq '^shoal: rank 2 on h2 died.*ranks 0, 1 waited in all_reduce #20 over school.*dmesg' ||
  fail "nobody says whose memory was exhausted"
[ "$(processes_in "$lab")" -eq $holders ] || fail "processes are left: $(left_over)"

# A quota is an upper bound, however idle the machine is.
accepts . "$shoal" lab calibrate --name "$lab" --json calibration.json
awk -F'[:,]' '/"cpu":/ { n++; if (n == 3 && ($2 <= 0 || $2 > 0.5 * 1.25)) exit 1 } END { exit n != 3 }' \
  calibration.json || fail "h2 does not compute as its quota of 0.5 says: $(cat calibration.json)"

finish
