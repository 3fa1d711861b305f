#!/bin/sh
# run_hosts_test.sh SHOAL: shoal run and shoal doctor over several hosts. The hosts are namespaces with
# a host name each, and the rsh agent enters them; one of them goes away. Exits with 77 without root.
shoal=$1
. "$(dirname "$0")/expect.sh"
unset OMP_NUM_THREADS SLURM_JOB_ID
if ! unshare --uts true 2>/dev/null; then
  echo "skipped: no namespaces of host names, which need root"
  exit 77
fi

cat >agent <<END
#!/bin/sh
host=\$1
shift
if [ "\$host" = gone ] || [ -e "$PWD/cut.\$host" ]; then
  echo "ssh: connect to host \$host port 22: No route to host" >&2
  exit 255
fi
# A daemon that does not come up, as often as the file has lines.
case "\$*" in
  *orted*)
    if [ -s "$PWD/miss.\$host" ]; then
      sed -i 1d "$PWD/miss.\$host"
      exit 1
    fi
    ;;
esac
exec unshare --uts sh -c 'hostname "\$1" && shift && exec sh -c "\$*"' agent "\$host" "\$@"
END
chmod +x agent

accepts '^\[2@hc\] hc$' "$shoal" run --hosts ha:1,hb:1,hc:1 --rsh-agent "$PWD/agent" -- hostname
run "$shoal" run --hosts ha,gone --rsh-agent "$PWD/agent" -- hostname
[ "$status" -eq 1 ] || fail "exit status $status with a host that is not there"
printf '%s\n' "$output" | grep -q '^shoal: host gone: .*No route to host' || fail "the host is not named"

# Daemons that do not come up have a second chance, and no third.
echo once >miss.hb
accepts '^\[1@hb\] hb$' "$shoal" run --hosts ha:1,hb:1 --rsh-agent "$PWD/agent" -- hostname
printf '%s\n' "$output" | grep -q '^shoal run: mpirun could not start its daemons.*trying once more$' ||
  fail "the second start is not told of"
printf 'once\ntwice\n' >miss.hb
run "$shoal" run --hosts ha:1,hb:1 --rsh-agent "$PWD/agent" -- hostname
[ "$status" -ne 0 ] || fail "exit status 0 although no rank has begun"
printf '%s\n' "$output" | grep -c 'could not start its daemons' | grep -q '^2$' ||
  fail "not tried twice"

run "$shoal" doctor --seconds 0.5 --hosts ha,hb,gone --rsh-agent "$PWD/agent"
[ "$status" -eq 1 ] || fail "exit status $status of the doctor, not 1"
printf '%s\n' "$output" | grep -q '^✗ reachable  *gone: ssh' || fail "the doctor does not miss the host"
printf '%s\n' "$output" | grep -q '^[^ ]* pair  *ha - hb' || fail "the doctor does not measure the others"

# A rank is killed and its host is gone: the rest goes on, on a smaller mesh.
awk 'BEGIN { for (i = 0; i < 2000; i++) printf "the %d fish swim in a shoal\n", i % 10 }' >text.txt
"$shoal" run --hosts ha:1,hb:1,hc:1 --rsh-agent "$PWD/agent" --restarts 1 -- train --data text.txt \
  --tokenizer char --n-layer 1 --n-head 2 --n-embd 16 --block-size 16 --batch-size 4 --dropout 0 \
  --mesh dp=3 --eval-interval 0 --warmup-iters 2 --max-iters 600 --checkpoint-interval 50 \
  --out-dir out >restart.log 2>&1 &
job=$!
tries=400
while ! ls -d out/step-* >/dev/null 2>&1 && [ "$tries" -gt 0 ]; do
  sleep 0.1
  tries=$((tries - 1))
done
: >cut.hc
victim=
for process in /proc/[0-9]*; do
  { tr '\0' '\n' <"$process/environ" | grep -q '^OMPI_COMM_WORLD_RANK=2$'; } 2>/dev/null || continue
  [ "$(readlink "$process/cwd")" = "$PWD" ] && victim=${process#/proc/}
done
[ -n "$victim" ] && kill -KILL "$victim" || fail "no rank to kill"
wait "$job"
status=$?
output=$(cat restart.log)
[ "$status" -eq 0 ] || fail "exit status $status of a training that lost a host"
grep -q 'starting again (1 of 1): 2 ranks on 2 hosts .*mesh dp=2; without hc; from the newest' restart.log ||
  fail "not started again on two hosts"
grep -q '\] done after 600 steps' restart.log || fail "not to the end"

finish
