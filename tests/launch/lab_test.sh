#!/bin/sh
# lab_test.sh SHOAL: clusters of hosts on this machine, from up to down, and what must never be left.
shoal=$1
. "$(dirname "$0")/expect.sh"
. "$(dirname "$0")/lab_support.sh"
lab=t$$ # its own, whatever else runs on this machine
other=u$$
require_lab
short= # the third one, once it is ours
trap 'stop_labs "$lab" "$other" $short' EXIT
trap 'exit 130' INT TERM

awk 'BEGIN { for (i = 0; i < 2000; i++) printf "the %d fish swim in a shoal\n", i % 10 }' >text.txt
model="--data text.txt --tokenizer char --n-layer 1 --n-head 8 --n-embd 32 --block-size 16
  --dropout 0 --eval-interval 0 --learning-rate 1e-2 --warmup-iters 2"

# loss LOG STEP: of a step in a --log-json file.
loss() {
  awk -v step="$2" 'index($0, "\"step\":" step ",") && match($0, /"loss":[-+0-9.eE]+/) {
    print substr($0, RSTART + 7, RLENGTH - 7) }' "$1"
}

# Eight hosts, a training run, down, nothing left: in under a minute (the test's own time limit is
# longer, for machines that are busy).
begin=$(date +%s)
accepts '^lab .*: 8 hosts up' "$shoal" lab up --name "$lab" --hosts 8 --link 1gbit --json up.json
[ "$(printf '%s\n' "$output" | awk 'length($0) > 80' | wc -l)" -eq 0 ] || fail "wider than 80 columns"
[ "$(grep -c '"out_bits_per_s": [0-9.]' up.json)" -eq 8 ] || fail "not all links measured: $(cat up.json)"
# shellcheck disable=SC2086  # $model is a list of words
accepts . "$shoal" lab run --name "$lab" -- shoal train $model --batch-size 8 --max-iters 10 --mesh dp=8 \
  --out-dir eight --log-json eight.json
run "$shoal" lab down --name "$lab"
end=$(date +%s)
echo "8 hosts up, calibration, 10 steps, down: $((end - begin)) s"
[ "$status" -eq 0 ] || fail "down ends with $status"
nothing_left "$lab"
accepts 'nothing to take down' "$shoal" lab down --name "$lab"

# The same losses as in one process.
# shellcheck disable=SC2086
accepts . env OMP_NUM_THREADS=1 "$shoal" train $model --batch-size 8 --max-iters 10 --out-dir one --log-json one.json
for step in 0 5 9; do
  awk -v a="$(loss one.json $step)" -v b="$(loss eight.json $step)" 'BEGIN {
    if (a == "" || b == "") exit 1
    d = a - b; if (d < 0) d = -d
    exit !(d <= 1e-4 * a) }' ||
    fail "step $step: loss $(loss one.json $step) in one process, $(loss eight.json $step) on 8 hosts"
done

# Names, ranks, exit statuses.
# Its hosts keep nothing open of who started them: the lock ends with the command.
accepts . flock caller.lock "$shoal" lab up --name "$lab" --hosts 3 --no-calibration --host 2:link=100mbit
accepts '' flock --nonblock caller.lock true
rejects 'is up already.*shoal lab down' "$shoal" lab up --name "$lab" --hosts 2
accepts '^ranks +6 on 3 hosts' "$shoal" lab run --name "$lab" --ranks-per-host 2 -- shoal info
for host in 'h0: ranks 0-1' 'h1: ranks 2-3' 'h2: ranks 4-5'; do
  printf '%s\n' "$output" | grep -q "^host .*$host\$" || fail "no line '$host'"
done
accepts '^h1$' "$shoal" lab run --name "$lab" -n 3 -- hostname
run "$shoal" lab run --name "$lab" -n 1 -- sh -c 'exit 7'
[ "$status" -eq 7 ] || fail "exit status $status, not the program's 7"
# Three hosts against one process, in numbers that explain each other.
accepts ' wins: E [0-9.]+; its hosts send up to ' "$shoal" lab compare --name "$lab" --config nano \
  --batch-size 6 --mesh "dp=3;pp=3" --warm-up 1 --steps 2 --json compare.json
printf '%s\n' "$output" | grep -Eq '^  (dp|pp)=3.*: -?[0-9]+ % slower' || fail "no reason for the second place"
[ "$(grep -c '"e": [0-9.]' compare.json)" -eq 2 ] || fail "not two meshes in the JSON: $(cat compare.json)"
rejects 'mesh dp=2 needs 2 hosts, but lab .* has 3' "$shoal" lab compare --name "$lab" --config nano --mesh dp=2 --warm-up 1 --steps 1
rejects 'do not fit' "$shoal" lab run --name "$lab" -n 9 --ranks-per-host 2 -- shoal info
rejects 'no program' "$shoal" lab run --name "$lab"
rejects 'h0 to h2' "$shoal" lab cut h9 --name "$lab"
output=$(printf 'hostname; getent hosts h2\n' | SHELL=/bin/sh "$shoal" lab shell h1 --name "$lab" 2>&1)
printf '%s\n' "$output" | grep -q '^h1$' || fail "the shell in h1 has another host name"
printf '%s\n' "$output" | grep -q '^10\.99\.' || fail "h1 does not know h2"

# The shortest name there is: Open MPI loses a word of one letter at the end of its agent.
if "$shoal" lab up --name q --hosts 2 --no-calibration >/dev/null 2>&1; then
  short=q
  accepts '^ranks +2 on 2 hosts' "$shoal" lab run --name q -- shoal info
  accepts . "$shoal" lab down --name q
else
  echo "a lab called q is up already: it is not used"
fi

# A second lab beside the first; its host 1 has a tenth of the others' speed.
accepts . "$shoal" lab up --name "$other" --hosts 3 --no-calibration --link 200mbit --host h1:link=20mbit
accepts '^ranks +3 on 3 hosts' "$shoal" lab run --name "$other" -- shoal info
accepts . "$shoal" lab calibrate --name "$other" --json other.json
awk -F'[:,]' '/"out_bits_per_s"/ { v[++n] = $2 } END { exit !(v[1] > 4 * v[2] && v[2] > 0 && v[3] > 4 * v[2]) }' \
  other.json || fail "the slow link is not a slow one: $(cat other.json)"
accepts . "$shoal" lab down --name "$other"
nothing_left "$other"
accepts '^ranks +3 on 3 hosts' "$shoal" lab run --name "$lab" -- shoal info

# Ctrl-C (a signal from outside) ends the run, and leaves nothing of it on any host.
# shellcheck disable=SC2086
"$shoal" lab run --name "$lab" -- shoal train $model --batch-size 9 --max-iters 1000000 --mesh dp=3 \
  --out-dir long >long.txt 2>&1 &
runner=$!
wait_until 'grep -q "^step" long.txt' || fail "the long run does not start: $(cat long.txt)"
kill -TERM "$runner"
wait_until "! kill -0 $runner 2>/dev/null" || fail "the run does not end"
wait "$runner"
stopped=$?
[ "$stopped" -eq 143 ] || fail "exit status $stopped, not 143, after SIGTERM: $(cat long.txt)"
[ "$(processes_in "$lab")" -eq 4 ] || fail "$(processes_in "$lab") processes after the run, not the 4 holders"

# A host that is cut off ends the run; once it is back the next one works.
# shellcheck disable=SC2086
SHOAL_TIMEOUT=3 "$shoal" lab run --name "$lab" -- shoal train $model --batch-size 9 --max-iters 1000000 \
  --mesh dp=3 --out-dir cut >cut.txt 2>&1 &
runner=$!
wait_until 'grep -q "^step" cut.txt' || fail "the run does not start: $(cat cut.txt)"
accepts '^$' "$shoal" lab cut h2 --name "$lab"
accepts 'h2 .* cut ' "$shoal" lab status --name "$lab"
wait_until "! kill -0 $runner 2>/dev/null" || fail "the run hangs when a host is cut off: $(cat cut.txt)"
wait "$runner"
stopped=$?
[ "$stopped" -ne 0 ] || fail "exit status 0 although a host was cut off"
grep -q '^shoal: .*rank' cut.txt || fail "nobody says whom it waited for: $(cat cut.txt)"
[ "$(processes_in "$lab")" -eq 4 ] || fail "$(processes_in "$lab") processes after the cut, not 4"
accepts '^$' "$shoal" lab heal h2 --name "$lab"
accepts '^ranks +3 on 3 hosts' "$shoal" lab run --name "$lab" -- shoal info

# A host dies: status and run say so, down still works.
kill -9 "$(cat "$(lab_groups "$lab.h1" | head -n 1)/cgroup.procs")"
accepts '^h1 .* gone ' "$shoal" lab status --name "$lab"
run "$shoal" lab run --name "$lab" -- shoal info
[ "$status" -eq 1 ] || fail "exit status $status although a host is gone"
printf '%s\n' "$output" | grep -q 'h1.*shoal lab down' || fail "the run does not name h1"
rm -r /run/shoal-lab/"$lab"* # what is on the machine counts, not what the file says
accepts 'down' "$shoal" lab down --name "$lab"
nothing_left "$lab"

# Stopped half-way, or killed: nothing, or nothing that down does not find.
"$shoal" lab up --name "$lab" --hosts 40 --no-calibration >up.txt 2>&1 &
runner=$!
wait_until "[ -n \"\$(lab_groups $lab.h2)\" ]"
kill -INT "$runner" 2>/dev/null # a shell's background job ignores it unless the program does not
kill -TERM "$runner"
wait "$runner"
stopped=$?
[ "$stopped" -eq 143 ] || [ "$stopped" -eq 130 ] || fail "up ends with $stopped: $(cat up.txt)"
nothing_left "$lab"
"$shoal" lab up --name "$lab" --hosts 40 --no-calibration >up.txt 2>&1 &
runner=$!
wait_until "[ -n \"\$(lab_groups $lab.h2)\" ]"
kill -KILL "$runner"
wait "$runner" 2>/dev/null
wait_until "[ \"\$(processes_in $lab)\" -eq 0 ]" || fail "hosts outlive the command that made them"
rejects 'remains.*shoal lab down' "$shoal" lab up --name "$lab" --hosts 2
accepts 'down' "$shoal" lab down --name "$lab"
nothing_left "$lab"

# What the kernel lacks is refused by its name.
if unshare --net tc qdisc add dev lo root netem delay 1ms 2>/dev/null; then
  accepts . "$shoal" lab up --name "$lab" --hosts 2 --latency 5ms --json slow.json
  awk -F'[:,]' '/"latency_s"/ { if ($2 < 5e-3) exit 1 }' slow.json || fail "no latency: $(cat slow.json)"
else
  run "$shoal" lab up --name "$lab" --hosts 2 --latency 5ms
  [ "$status" -eq 1 ] || fail "exit status $status where the kernel has no netem"
  printf '%s\n' "$output" | grep -q '^shoal: .*netem' || fail "does not name netem"
fi
rejects 'cores' "$shoal" lab up --name "$lab" --cpu 4000
accepts 'down|nothing' "$shoal" lab down --name "$lab"
nothing_left "$lab"

finish
