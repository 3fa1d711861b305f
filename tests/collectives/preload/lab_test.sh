#!/bin/sh
# lab_test.sh SHOAL LIBRARY PROGRAM: a plain MPI program over real hosts, whose data crosses links, with
# libshoal_pmpi.so: with one rank each, and with 2, 1, 3 and 1.
shoal=$1
library=$2
program=$3
tests=$(dirname "$0")/../../launch
. "$tests/expect.sh"
. "$tests/lab_support.sh"
lab=p$$ # its own, whatever else runs on this machine
require_lab
trap 'stop_labs "$lab"' EXIT
trap 'exit 130' INT TERM

accepts . "$shoal" lab up --name "$lab" --hosts 4 --link 1gbit --no-calibration
# over RANKS HOSTS: the program comes to its end with the library, which did some of every function.
over() {
  accepts '^all right' "$shoal" lab run --mpi-arg=--host "--mpi-arg=$2" --mpi-arg=-x \
    "--mpi-arg=LD_PRELOAD=$library" --mpi-arg=-x --mpi-arg=SHOAL_PRELOAD_REPORT=1 \
    --ranks-per-host 3 -n "$1" --name "$lab" -- "$program"
  for function in MPI_Allreduce MPI_Reduce_scatter MPI_Allgather MPI_Bcast MPI_Alltoall MPI_Barrier \
    MPI_Iallreduce; do
    taken=$(printf '%s\n' "$output" | awk -v name=$function '$1 == name { print $2 }')
    [ "${taken:-0}" -gt 0 ] || fail "no $function was taken over on $2"
  done
}
over 4 h0:1,h1:1,h2:1,h3:1
over 7 h0:2,h1:1,h2:3,h3:1
run "$shoal" lab down --name "$lab"
[ "$status" -eq 0 ] || fail "down ends with $status"
nothing_left "$lab"
finish
