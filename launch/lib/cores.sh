# shellcheck shell=sh
# How many cores this process may use. Sourced by the scripts beside it; POSIX shell.

# Physical cores: hyperthreads share the arithmetic units that a rank needs for itself. Counts only
# the processors of our affinity mask, and no more than the CPU quota of the container.
shoal_cores() {
  cores=
  if command -v lscpu >/dev/null 2>&1 && mask=$(shoal_allowed_cpus); then
    cores=$(lscpu -p=CPU,CORE,SOCKET 2>/dev/null | awk -F, -v mask="$mask" '
      BEGIN {
        parts = split(mask, ranges, ",")
        for (i = 1; i <= parts; i++) {
          ends = split(ranges[i], range, "-")
          for (cpu = range[1]; cpu <= range[ends]; cpu++) allowed[cpu + 0] = 1
        }
      }
      !/^#/ && ($1 in allowed) && !(($2, $3) in seen) { seen[$2, $3] = 1; count++ }
      END { print count + 0 }')
  fi
  [ "${cores:-0}" -ge 1 ] || cores=$(shoal_processors)
  quota=$(shoal_cpu_quota)
  if [ "$quota" -ge 1 ] && [ "$quota" -lt "$cores" ]; then cores=$quota; fi
  echo "$cores"
}

# Processors of our affinity mask, hyperthreads included. nproc alone would believe OMP_NUM_THREADS.
shoal_processors() { env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc; }

# The affinity mask as a list like 0-3,8; fails where the kernel does not tell.
shoal_allowed_cpus() {
  awk '/^Cpus_allowed_list:/ { print $2; found = 1 } END { exit !found }' /proc/self/status 2>/dev/null
}

# Whole processors of the cgroup's quota, at least 1; 0 if there is none.
shoal_cpu_quota() {
  if [ -r /sys/fs/cgroup/cpu.max ]; then
    awk '$1 == "max" { print 0; next } { q = int($1 / $2); print q < 1 ? 1 : q }' /sys/fs/cgroup/cpu.max
  elif [ -r /sys/fs/cgroup/cpu/cpu.cfs_quota_us ]; then
    cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us | awk '
      NR == 1 { quota = $1 }
      NR == 2 { if (quota <= 0) print 0; else { q = int(quota / $1); print q < 1 ? 1 : q } }'
  else
    echo 0
  fi
}
