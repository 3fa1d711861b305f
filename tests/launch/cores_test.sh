#!/bin/sh
# How many cores the scripts count, and what launch/mpirun makes of it.
. "$(dirname "$0")/expect.sh"
. "$SHOAL_SOURCE/launch/lib/cores.sh"

cores=$(shoal_cores)
[ "$cores" -ge 1 ] && [ "$cores" -le "$(shoal_processors)" ] ||
  fail "$cores cores of $(shoal_processors) processors"
[ "$(OMP_NUM_THREADS=1 shoal_cores)" = "$cores" ] || fail "OMP_NUM_THREADS changes the count"
one=$(taskset -c "$(shoal_allowed_cpus | sed 's/[-,].*//')" sh -c '. "$SHOAL_SOURCE/launch/lib/cores.sh"; shoal_cores')
[ "$one" = 1 ] || fail "$one cores when bound to one processor"

# Two hyperthreads of each of two cores; a quota of one and a half processors.
mkdir bin
printf '#!/bin/sh\nprintf "# CPU,Core,Socket\\n0,0,0\\n1,1,0\\n2,0,0\\n3,1,0\\n"\n' >bin/lscpu
chmod +x bin/lscpu
counted=$(PATH="$PWD/bin:$PATH" && shoal_allowed_cpus() { echo 0-3; } && shoal_cpu_quota() { echo 0; } && shoal_cores)
[ "$counted" = 2 ] || fail "$counted cores, not 2, for four hyperthreads"
counted=$(PATH="$PWD/bin:$PATH" && shoal_allowed_cpus() { echo 0,2; } && shoal_cpu_quota() { echo 0; } && shoal_cores)
[ "$counted" = 1 ] || fail "$counted cores, not 1, for both hyperthreads of one core"
counted=$(PATH="$PWD/bin:$PATH" && shoal_allowed_cpus() { echo 0-3; } && shoal_cpu_quota() { echo 1; } && shoal_cores)
[ "$counted" = 1 ] || fail "$counted cores, not 1, under a quota"

# More ranks than cores yield; the caller's binding is kept.
printf '#!/bin/sh\nprintf "%%s\\n" "$*"\n' >bin/mpirun
chmod +x bin/mpirun
PATH="$PWD/bin:$PATH"
accepts '^-n 9999 --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 prog -x$' "$mpirun" -n 9999 prog -x
accepts '^-n 1 --oversubscribe --bind-to none prog$' "$mpirun" -n 1 prog
accepts '^-n 9999 --oversubscribe *--mca mpi_yield_when_idle 1 --bind-to socket prog$' \
  "$mpirun" -n 9999 --bind-to socket prog
for wrong in 0 -1 x ''; do
  run "$mpirun" -n "$wrong" prog
  [ "$status" -eq 2 ] || fail "accepts -n '$wrong'"
done

run "$SHOAL_SOURCE/launch/demo" --bogus
[ "$status" -eq 2 ] || fail "launch/demo accepts --bogus"
run "$SHOAL_SOURCE/launch/demo" --data nowhere
[ "$status" -eq 2 ] || fail "launch/demo accepts --data nowhere"
run "$SHOAL_SOURCE/launch/demo" --ranks 0
[ "$status" -eq 2 ] || fail "launch/demo accepts --ranks 0"

finish
