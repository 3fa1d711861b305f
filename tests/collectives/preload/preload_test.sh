#!/bin/sh
# preload_test.sh <library> <program> <ranks> [threads|memory|huge|many|abort|leave|lend [threads]|requests [threads]]: a plain MPI program must give
# the same results with libshoal_pmpi.so as without, and its calls must really have been taken over.
set -eu
library=$1 program=$2 ranks=$3
shift 3
mkdir -p "$SHOAL_WORK"
out=$SHOAL_WORK/out.$ranks

run() { "$SHOAL_SOURCE/launch/mpirun" -n "$ranks" --bind-to none --timeout "$SHOAL_TEST_LIMIT" "$@"; }

fail() {
  echo "$1" >&2
  cat "$out" >&2
  exit 1
}

with() {
  run -x LD_PRELOAD="${SHOAL_TEST_FIRST:+$SHOAL_TEST_FIRST:}$library" -x SHOAL_PRELOAD_REPORT=1 "$program" "$@"
}

# A rank that ends the run does so for all, whatever they wait in.
case ${1:-} in
  abort | leave)
    status=0
    with "$@" >"$out" 2>&1 || status=$?
    [ "$status" -eq 7 ] || fail "a run that a rank ends with 7 ends with $status"
    exit 0
    ;;
esac
run "$program" "$@" >"$out" 2>&1 || fail "the program fails without the library"
with "$@" >"$out" 2>&1 ||
  fail "the program fails with the library"
grep -q "^all right" "$out" || fail "the program did not come to its end"
cat "$out"

# calls_of <function>: how many Shoal did, and how many MPI.
calls_of() { awk -v name="$1" '$1 == name { print $2, $4 }' "$out"; }
if [ "$ranks" -eq 1 ]; then
  ! grep -q "^shoal:" "$out" || fail "one rank has nobody to share with"
  exit 0
fi
# Programs that call only one of them, or not all.
only() {
  set -- "$1" $(calls_of "$1")
  [ "${2:-0}" -gt 0 ] || fail "no $1 was taken over"
  exit 0
}
case ${1:-} in
  memory | lend) only MPI_Allreduce ;;
  requests) only MPI_Iallreduce ;;
  many) only MPI_Allreduce ;;
esac
later=MPI_Iallreduce
case ${SHOAL_NODES:+$program} in *program) later= ;; esac # short ones are MPI's between nodes
for function in MPI_Allreduce MPI_Reduce_scatter MPI_Reduce_scatter_block MPI_Allgather MPI_Bcast \
  MPI_Alltoall $later; do
  set -- $(calls_of $function)
  [ "${1:-0}" -gt 0 ] || fail "no $function was taken over"
done
