#!/bin/sh
# run_test.sh SHOAL: shoal run and shoal doctor, as a person would use them on one machine, and with
# stand-ins for other hosts and for Slurm.
shoal=$1
. "$(dirname "$0")/expect.sh"
unset OMP_NUM_THREADS SLURM_JOB_ID
for name in $(env | sed -n 's/^\(OPENBLAS_[A-Z0-9_]*\|ONEDNN_[A-Z0-9_]*\|LD_LIBRARY_PATH\)=.*/\1/p'); do unset "$name"; done
[ "$(id -u)" = 0 ] && root="--allow-run-as-root " || root=

# prints LINE COMMAND...: exactly this line.
prints() {
  expected=$1
  shift
  run "$@"
  [ "$output" = "$expected" ] || fail "not the line '$expected': $command_line"
}

# --- Lines: one machine, more ranks than cores, threads, quoting.
. "$SHOAL_SOURCE/launch/lib/cores.sh"
cores=$(shoal_cores)
if [ "$cores" -gt 1 ]; then
  prints "mpirun $root-n $cores --oversubscribe --map-by core --bind-to core -x OMP_NUM_THREADS=1 $shoal info" \
    "$shoal" run --dry-run -- info
fi
prints "mpirun $root-n 9999 --oversubscribe --map-by slot --bind-to none --mca mpi_yield_when_idle 1 -x OMP_NUM_THREADS=1 sh -c 'a \"b\" '\\''c'\\''' '' '[x,y]'" \
  "$shoal" run --dry-run -n 9999 -- sh -c "a \"b\" 'c'" '' '[x,y]'
prints "mpirun $root-n 1 --oversubscribe --bind-to none -x OMP_NUM_THREADS=$cores true" "$shoal" run --dry-run -n 1 -- true
prints "mpirun $root-n 512 --oversubscribe --map-by slot --bind-to none --mca mpi_yield_when_idle 1 -x OMP_NUM_THREADS=1 $shoal train --mesh dp=128,tp=4" \
  "$shoal" run --dry-run -- train --mesh dp=128,tp=4

# Ranks stay on the processors that we were given: mpirun binds to others, so shoal run does it.
if [ "$cores" -gt 1 ]; then
  first=$(shoal_allowed_cpus | sed 's/[-,].*//')
  last=$(shoal_allowed_cpus | sed 's/.*[-,]//')
  run env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun -n 2 --oversubscribe --bind-to none \
    "$shoal" run --pin "$last;$first" -- sh -c 'echo "$OMPI_COMM_WORLD_RANK on $(sed -n "s/^Cpus_allowed_list:.//p" /proc/self/status)."'
  [ "$status" -eq 0 ] || fail "$command_line"
  for line in "0 on $last." "1 on $first."; do
    printf '%s\n' "$output" | grep -qxF "$line" || fail "no '$line': $command_line"
  done
fi

# A lost host is noticed by mpirun and its daemons after the ranks' watch has spoken.
alive="--mca oob_tcp_keepalive_time 35 --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 3"
# Hosts: slots given, a file with comments, ranks a host, threads; environment goes along.
forward="-x PATH -x SHOAL_SOURCE -x SHOAL_TIMEOUT -x SHOAL_TUNING -x SHOAL_WORK"
[ -z "${SHOAL_TEST_SEED:-}" ] || unset SHOAL_TEST_SEED
run env SHOAL_SILENCE=2.5 "$shoal" run --dry-run --hosts n1:4,n2:2 -- true
printf '%s\n' "$output" | grep -q 'keepalive_time 8 ' || fail "does not wait for the watch"
prints "mpirun $root-n 6 --host n1:4,n2:2 $alive --map-by core --bind-to core -x OMP_NUM_THREADS=1 $forward true" \
  "$shoal" run --dry-run --hosts n1:4,n2:2 -- true
cat >hosts <<'END'
# two machines
n1 slots=4 max_slots=8   # the large one

n2:2
END
prints "mpirun $root-n 2 --host n1:1,n2:1 --mca plm_rsh_agent agent $alive --map-by slot:PE=2 --bind-to core -x OMP_NUM_THREADS=2 $forward true" \
  "$shoal" run --dry-run --hostfile hosts --ranks-per-host 1 --threads 2 --rsh-agent agent -- true
prints "mpirun $root-n 3 --host n1:2,n2:1 $alive --map-by core --bind-to core -x OMP_NUM_THREADS=1 $forward true" \
  "$shoal" run --dry-run --hostfile hosts -n 3 --threads 1 -- true

# In an allocation that is none: srun where it serves PMIx, mpirun where it does not.
mkdir bin
cat >bin/scontrol <<'END'
#!/bin/sh
[ "$3" = 'n[1-2]' ] && printf 'n1\nn2\n' || printf 'n1\nn2\nn3\nn4\n'
END
# Slurm sees n2 as down; n3 hangs, unseen; with all four the job fails, with those that are left it runs.
cat >bin/sinfo <<'END'
#!/bin/sh
printf 'n1 allocated\nn1 allocated\nn2 down*\nn3 allocated\nn4 draining\n'
END
cat >bin/srun <<'END'
#!/bin/sh
case " $* " in
  *' --mpi=list '*) echo "MPI plugin types are... $SERVES" ;;
  *' --nodelist=n3 '*'run --answer'*) exec sleep 60 ;;
  *' --nodelist='n[14]' '*'run --answer'*) while [ "${1#--}" != "$1" ]; do shift; done; exec "$@" ;;
  *' --nodelist=n1,n2,n3,n4 '*) echo "srun: error: n2: task 3: Exited with exit code 9" >&2; exit 9 ;;
  *) echo "$*" >started ;;
esac
END
chmod +x bin/*
slurm="env PATH=$PWD/bin:$PATH SLURM_JOB_ID=7 SLURM_JOB_NODELIST=n[1-2] SLURM_JOB_CPUS_PER_NODE=4(x2)"
# shellcheck disable=SC2086  # $slurm is a list of words
{
  prints "env OMP_NUM_THREADS=1 srun --mpi=pmix --nodes=2 --nodelist=n1,n2 --ntasks=8 --ntasks-per-node=4 --cpus-per-task=1 --cpu-bind=cores --distribution=block --kill-on-bad-exit=1 --export=ALL true" \
    $slurm SERVES=pmix "$shoal" run --dry-run -- true
  prints "mpirun $root-n 4 --host n1:2,n2:2 $alive --map-by slot:PE=2 --bind-to core -x OMP_NUM_THREADS=2 $forward true" \
    $slurm SERVES=none SLURM_NTASKS=4 "$shoal" run --dry-run -- true
  # A job that fails starts again without the nodes that Slurm has given up, or that do not answer.
  slurm4="env PATH=$PWD/bin:$PATH SLURM_JOB_ID=7 SLURM_JOB_NODELIST=n[1-4] SLURM_JOB_CPUS_PER_NODE=2(x4)"
  run $slurm4 SERVES=pmix "$shoal" run --restarts 1 -- true
  [ "$status" -eq 0 ] || fail "exit status $status of a job that was started again in Slurm"
  printf '%s\n' "$output" | grep -q '^shoal run: rank 3 on n2 ended with status 9$' || fail "the rank is not named"
  printf '%s\n' "$output" |
    grep -q '^shoal run: starting again (1 of 1): 4 ranks on 2 hosts (n1 2, n4 2), .*; without n2, n3$' ||
    fail "not started again on the nodes that are left"
  grep -q -e '--nodes=2 --nodelist=n1,n4 --ntasks=4 ' started || fail "not on these: $(cat started)"
  rejects 'n3 is not in' $slurm SERVES=none "$shoal" run --hosts n3 -- true
}

# --- Wrong flags.
rejects 'nothing to run' "$shoal" run
rejects 'nosuch.*neither' "$shoal" run -- nosuch
rejects 'doctor' "$shoal" run -- doctor
rejects 'ranks' "$shoal" run -n 0 -- info
rejects 'host name' "$shoal" run --hosts a,,b -- info
rejects 'slots' "$shoal" run --hosts a:0 -- info
rejects 'nowhere' "$shoal" run --hostfile nowhere -- info
rejects 'hold 4 ranks' "$shoal" run -n 5 --ranks-per-host 2 --hosts a:1,b:1 -- info
rejects 'Slurm' "$shoal" run --starter srun -- info
printf 'n1 slots=4\nn2 slot=3\n' >wrong
rejects 'line 2.*slot=3' "$shoal" run --hostfile wrong -- info
run "$shoal" run --restarts 3 -n 2 -- train --data text.txt --max-iters many
[ "$status" -eq 2 ] || fail "exit status $status of a wrong flag, not 2"
printf '%s\n' "$output" | grep -q 'starting again' && fail "starts again what cannot work"

# --- Output, status.
accepts '^\[1@.*\] to be ✓$' "$shoal" run -n 2 -- sh -c 'printf "to "; printf "be ✓\n"'
run "$shoal" run --quiet -n 2 -- sh -c 'echo rank $OMPI_COMM_WORLD_RANK'
[ "$output" = "rank 0" ] || fail "--quiet is more than what rank 0 writes"
run "$shoal" run -n 2 -- sh -c '[ "$OMPI_COMM_WORLD_RANK" = 0 ] || exit 7; sleep 20'
[ "$status" -eq 7 ] || fail "exit status $status of a failing rank, not 7"
run "$shoal" run -n 2 -- sh -c '[ "$OMPI_COMM_WORLD_RANK" = 0 ] || kill -9 $$; sleep 20'
[ "$status" -eq 137 ] || fail "exit status $status of a killed rank, not 137"

# waits_for SECONDS COMMAND...: until it succeeds.
waits_for() {
  tries=$(($1 * 10))
  shift
  while ! "$@" >/dev/null 2>&1 && [ "$tries" -gt 0 ]; do
    sleep 0.1
    tries=$((tries - 1))
  done
  [ "$tries" -gt 0 ]
}

# --- Signals: the ranks get them, and nothing is left, not even what the ranks started.
"$shoal" run -n 2 -- sh -c 'sleep 300 & echo $! >pid.$OMPI_COMM_WORLD_RANK; wait' >signal.log 2>&1 &
job=$!
waits_for 60 test -s pid.0 -a -s pid.1 || fail "the ranks have not started: $(cat signal.log)"
kill -INT "$job"
wait "$job"
status=$?
[ "$status" -eq 130 ] || fail "exit status $status after SIGINT, not 130: $(cat signal.log)"
for pid in $(cat pid.0 pid.1); do
  kill -0 "$pid" 2>/dev/null && fail "process $pid is left after SIGINT"
done

# --- Restarts: a rank is killed, and the training goes on from its checkpoint to its end.
awk 'BEGIN { for (i = 0; i < 2000; i++) printf "the %d fish swim in a shoal\n", i % 10 }' >text.txt
"$shoal" run -n 2 --threads 1 --restarts 2 -- train --data text.txt --tokenizer char --n-layer 1 --n-head 2 \
  --n-embd 16 --block-size 16 --batch-size 4 --dropout 0 --eval-interval 0 --warmup-iters 2 \
  --max-iters 6000 --checkpoint-interval 500 --log-json log.json --out-dir out >restart.log 2>&1 &
job=$!
if waits_for 100 sh -c 'ls -d out/step-*'; then
  # Any rank of it: a trainer with our working directory.
  victim=
  for process in /proc/[0-9]*; do
    { tr '\0' ' ' <"$process/cmdline" | grep -q "^$shoal train .*--log-json log.json"; } 2>/dev/null || continue
    [ "$(readlink "$process/cwd")" = "$PWD" ] && victim=${process#/proc/}
  done
  [ -n "$victim" ] && kill -KILL "$victim" || fail "no rank to kill"
else
  fail "no checkpoint: $(cat restart.log)"
fi
wait "$job"
status=$?
output=$(cat restart.log)
[ "$status" -eq 0 ] || fail "exit status $status of a training that was started again"
grep -q '^shoal run: starting again (1 of 2).*from the newest checkpoint$' restart.log || fail "not started again"
grep -q '\] resumed at step [1-9]' restart.log || fail "not resumed"
grep -q '\] done after 6000 steps' restart.log || fail "not to the end"
[ -d out/step-00006000 ] || fail "no checkpoint of step 6000"

# --- The doctor, on this machine: a table of at most 80 columns, and JSON.
run "$shoal" doctor --seconds 0.2 --json doctor.json
[ "$status" -le 1 ] || fail "exit status $status of the doctor"
printf '%s\n' "$output" | grep -q '^✓ pair  *rank 0 - rank 1  *[0-9.]* us' || fail "no pair is measured"
wide=$(printf '%s\n' "$output" | sed 's/[✓✗]/x/' | awk 'length($0) > 80')
[ -z "$wide" ] || fail "wider than 80 columns: $wide"
grep -q '"bytes_per_second"' doctor.json || fail "no JSON"
rejects 'json' "$shoal" doctor --json nowhere/doctor.json

finish
