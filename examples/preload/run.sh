#!/bin/sh
# run.sh BUILD: mean.c knows nothing of Shoal, and is built with MPI's own compiler wrapper. It runs as it
# is, and then with Shoal's collectives in front of MPI's; the report says which calls these did.
set -eu
build=$(realpath "$1")
cd "$(dirname "$0")"
launch=../../launch/mpirun
program=$(mktemp)
trap 'rm -f "$program"' EXIT
mpicc -O2 mean.c -o "$program"

"$launch" -n 2 --bind-to none --timeout 60 "$program"
"$launch" -n 2 --bind-to none --timeout 60 -x LD_PRELOAD="$build/lib/libshoal_pmpi.so" \
  -x SHOAL_PRELOAD_REPORT=1 "$program"
