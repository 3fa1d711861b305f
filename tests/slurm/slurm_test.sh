#!/bin/sh
# slurm_test.sh SHOAL PROGRAM PYTHON: training, and programs of one's own, in a Slurm cluster of three
# virtual nodes, in every way that Slurm and Open MPI have to start it. Needs root and Debian's Slurm;
# exits with 77 where they are missing.
shoal=$1 program=$2 python=$3
. "$SHOAL_SOURCE/tests/launch/expect.sh"
. "$SHOAL_SOURCE/tests/slurm/cluster.sh"

missing=$(cluster_missing)
if [ -n "$missing" ]; then
  echo "skipped: $(echo "$missing" | tr '\n' ' ')"
  exit 77
fi

# Sockets need short paths.
cluster=$(mktemp -d /tmp/shoal-slurm.XXXXXX)
stop() {
  cluster_stop "$cluster"
  rm -rf "$cluster"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

unset OMP_NUM_THREADS
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 SHOAL="$shoal"
cluster_start "$cluster" 3 2 >start.log 2>&1 || {
  output=$(cat start.log)
  fail "the cluster does not start"
  finish
}

awk 'BEGIN { for (i = 0; i < 2000; i++) printf "the %d fish swim in a shoal\n", i % 10 }' >text.txt
model="--data text.txt --tokenizer char --n-layer 1 --n-head 4 --n-embd 16 --block-size 16
  --batch-size 4 --dropout 0 --eval-interval 0 --max-iters 10 --warmup-iters 2"
loss() {
  awk 'index($0, "\"step\":9,") && match($0, /"loss":[-+0-9.eE]+/) { print substr($0, RSTART + 7, RLENGTH - 7) }' "$1"
}
# Ranks add in another order on another mesh, so the last digits may differ.
same_loss() {
  awk -v a="$(loss one.json)" -v b="$(loss "$1")" 'BEGIN {
    if (a == "" || b == "") exit 1
    d = a - b; if (d < 0) d = -d
    exit !(d <= 1e-3 * a) }' || fail "$1: loss $(loss "$1"), on one rank $(loss one.json)"
}

# shellcheck disable=SC2086  # $model is a list of words
{
  accepts 'done after 10 steps' env OMP_NUM_THREADS=1 "$shoal" train $model --out-dir one --log-json one.json

  # The example, as a user would send it; two nodes of its own choice.
  run timeout 60 sbatch --wait --output=example.log "$SHOAL_SOURCE/launch/slurm/train.sbatch" $model \
    --out-dir example --log-json example.json
  output=$(printf '%s\n' "$output" && cat example.log)
  [ "$status" -eq 0 ] || fail "launch/slurm/train.sbatch ends with status $status"
  printf '%s\n' "$output" | grep -q '^shoal run: 4 ranks on 2 hosts' || fail "not 4 ranks on 2 nodes"
  same_loss example.json

  # The examples: a program of one's own, and one in PyTorch where that is.
  run timeout 60 sbatch --wait --output=own.log "$SHOAL_SOURCE/examples/slurm/program.sbatch" "$program"
  output=$(printf '%s\n' "$output" && cat own.log)
  [ "$status" -eq 0 ] || fail "examples/slurm/program.sbatch ends with status $status"
  printf '%s\n' "$output" | grep -q '4 ranks: the largest eigenvalue is 405690.2040' || fail "not what the program prints"
  if PYTHONPATH="$python" /usr/bin/python3 -c 'import shoal_torch' 2>/dev/null; then
    run timeout 120 env PYTHONPATH="$python" PYTHON=/usr/bin/python3 THREADS=1 sbatch --wait --output=torch.log \
      "$SHOAL_SOURCE/examples/slurm/torch.sbatch" "$SHOAL_SOURCE/examples/torch_ddp.py"
    output=$(printf '%s\n' "$output" && cat torch.log)
    [ "$status" -eq 0 ] || fail "examples/slurm/torch.sbatch ends with status $status"
    printf '%s\n' "$output" | grep -q '4 ranks: loss .* as with Gloo' || fail "not what the script prints"
  fi

  # Plain mpirun in a batch job.
  printf '#!/bin/sh\nexec mpirun -n 4 --map-by core --bind-to core -x OMP_NUM_THREADS=1 "$SHOAL" train "$@"\n' >mpirun.sbatch
  run timeout 60 sbatch --wait --nodes=2 --ntasks=4 --output=mpirun.log mpirun.sbatch $model --out-dir mpirun --log-json mpirun.json
  output=$(printf '%s\n' "$output" && cat mpirun.log)
  [ "$status" -eq 0 ] || fail "mpirun under sbatch ends with status $status"
  same_loss mpirun.json

  # Plain srun, where the two know the same PMIx.
  if srun --mpi=list 2>&1 | grep -q pmix; then
    accepts 'done after 10 steps' srun --mpi=pmix --nodes=3 --ntasks=3 "$shoal" train $model --mesh dp=3 \
      --out-dir srun --log-json srun.json
    same_loss srun.json
  else
    echo "srun --mpi=pmix not tried: this Slurm serves no PMIx"
  fi

  # shoal run in an allocation, by each starter.
  for starter in mpirun srun; do
    accepts "^\[0@v[0-9]\] done after 10 steps" salloc --nodes=3 --ntasks=3 "$shoal" run --starter $starter -- train $model \
      --out-dir "run_$starter" --log-json "run_$starter.json"
    same_loss "run_$starter.json"
    run salloc --nodes=2 --ntasks=4 "$shoal" run --starter $starter -- sh -c \
      '[ "${OMPI_COMM_WORLD_RANK:-${SLURM_PROCID:-}}" != 2 ] || exit 7; sleep 30'
    [ "$status" -eq 7 ] || fail "exit status $status of a failing rank, not 7, by $starter"
  done
  accepts 'srun .*--nodes=2 --nodelist=v1,v2 --ntasks=4' salloc --nodes=2 --ntasks=4 "$shoal" run --dry-run -- train
  accepts 'pair +v1 - v3' salloc --nodes=3 --ntasks=3 "$shoal" doctor --seconds 1
}

finish
