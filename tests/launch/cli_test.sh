#!/bin/sh
# cli_test.sh SHOAL: what the executable says to a wrong command line, and its help.
shoal=$1
. "$(dirname "$0")/expect.sh"

# Text of 4000 characters, enough for a batch or two.
awk 'BEGIN { for (i = 0; i < 400; i++) printf "word %04d\n", i }' >text.txt
: >empty.txt
mkdir no_text
tiny="--data text.txt --n-layer 1 --n-head 2 --n-embd 8 --block-size 8 --batch-size 2
  --max-iters 1 --eval-interval 0 --out-dir out"

# Wrong flags: one line, status 2, from one process or from many.
rejects 'bogus' "$shoal" train --bogus
rejects 'bogus' "$mpirun" -n 2 "$shoal" train --bogus
rejects 'bogus' "$shoal" bogus
rejects 'max-iters' "$shoal" train --data text.txt --max-iters many
rejects 'tokenizer' "$shoal" train --data text.txt --tokenizer words
rejects 'n-layer' "$shoal" train --data text.txt --n-layer 0
rejects 'checkpoint' "$shoal" generate

# shellcheck disable=SC2086  # $tiny is a list of words
{
  # Meshes and models that do not fit.
  rejects 'dp=3.*3 ranks.*2' "$mpirun" -n 2 "$shoal" train $tiny --mesh dp=3
  rejects 'mesh' "$shoal" train $tiny --mesh dp
  rejects 'mesh|dp' "$shoal" train $tiny --mesh dp=0
  rejects '3' "$mpirun" -n 3 "$shoal" train $tiny --mesh tp=3
  rejects 'heads|head' "$shoal" train $tiny --n-head 3
  rejects '1 layers.*pp=2.*--n-layer' "$mpirun" -n 2 "$shoal" train $tiny --mesh pp=2
  rejects 'pp=2.*2 ranks.*1' "$shoal" train $tiny --mesh pp=2
  rejects 'pp appears twice' "$shoal" train $tiny --mesh pp=1,pp=1
  rejects 'ep.*dp, tp and pp' "$shoal" train $tiny --mesh ep=1

  # Data that is not there, or holds too little.
  rejects 'data' "$shoal" train --out-dir out
  rejects 'nowhere.txt.*No such file' "$shoal" train --data nowhere.txt --out-dir out
  rejects 'nowhere.txt' "$mpirun" -n 2 "$shoal" train --data nowhere.txt --out-dir out
  rejects 'empty.txt' "$shoal" train --data empty.txt --out-dir out
  rejects 'no_text' "$shoal" train --data no_text --out-dir out
  rejects '4000|text.txt|block' "$shoal" train --data text.txt --block-size 4096 --out-dir out
  rejects 'nowhere' "$shoal" train $tiny --log-json nowhere/log.json
}

# Checkpoints that are none.
mkdir none
rejects 'none' "$shoal" generate --checkpoint none
rejects 'nowhere' "$shoal" generate --checkpoint nowhere
rejects 'nowhere' "$mpirun" -n 2 "$shoal" generate --checkpoint nowhere

rejects 'nowhere' "$shoal" checkpoint info nowhere
rejects 'none.*no checkpoint' "$mpirun" -n 2 "$shoal" checkpoint verify none
rejects 'none.*leave out --resume' "$shoal" train --data text.txt --resume --out-dir none

# The lab, by root or not.
rejects 'no-such-flag' "$shoal" lab up --no-such-flag
rejects 'root|0gbit' "$shoal" lab up --link 0gbit
rejects 'root|is no name' "$shoal" lab down --name ../x
rejects 'root|no lab' "$shoal" lab status --name nowhere-at-all
rejects 'root|no lab' "$shoal" lab run --name nowhere-at-all --mpi-arg --tag-output -- prog --flag

# A bench leaves nothing where it wrote.
mkdir disk
accepts 'fp32 .*%' "$mpirun" -n 2 "$shoal" bench checkpoint --config nano --rounds 2 --out-dir disk \
  --json bench.json
[ -z "$(ls disk)" ] || fail "bench checkpoint left $(ls disk)"
grep -q '"op": *"checkpoint"' bench.json || fail "bench.json has no row: $(cat bench.json)"
rejects 'rounds' "$shoal" bench checkpoint --rounds 0
rejects 'fp8' "$shoal" bench checkpoint --dtype fp8

# Help, for 80 columns.
for sub in '' train generate info bench 'bench checkpoint' 'bench collectives' 'bench allreduce' \
  tune run doctor checkpoint 'checkpoint info' \
  'checkpoint verify' 'checkpoint export' lab 'lab up' 'lab run' 'lab status' 'lab calibrate'; do
  # shellcheck disable=SC2086
  accepts 'help' "$shoal" $sub --help
  wide=$(printf '%s\n' "$output" | awk 'length($0) > 80')
  [ -z "$wide" ] || fail "help of '$sub' is wider than 80 columns: $wide"
done
accepts '^shoal 0' "$shoal" --version
accepts 'usage|Usage|Subcommands' "$mpirun" -n 2 "$shoal" --help
[ "$(printf '%s\n' "$output" | grep -c '^Subcommands')" -le 1 ] || fail "two ranks print the help twice"
accepts 'MPI' "$mpirun" -n 2 "$shoal" info
# Of the threads it tells what is in force, whoever has set it.
accepts ', 3 threads each' env OMP_NUM_THREADS=3 "$mpirun" -n 2 "$shoal" info
accepts '"threads_per_rank": 1,' env OMP_NUM_THREADS=1 "$shoal" info --json

# The OpenMP build of OpenBLAS, whichever one the system prefers.
blas=$(ldd "$shoal" | awk '/libopenblas/ { print $3 }')
[ -n "$blas" ] || fail "the executable loads no OpenBLAS"
ldd "$blas" | grep -q 'libgomp' || fail "OpenBLAS without OpenMP: $blas"

finish
