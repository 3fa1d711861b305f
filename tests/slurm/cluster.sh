# shellcheck shell=sh
# A Slurm cluster on this machine, in a folder of its own: munge, slurmctld, and a slurmd for each of
# several virtual nodes, on free ports. Sourced by the tests beside it; needs root. POSIX shell.
#
#   cluster_missing          says what is not there to start one; empty if all is
#   cluster_start DIR NODES CPUS_PER_NODE   exports SLURM_CONF; fails with the reason
#   cluster_stop DIR         ends every process of it, whatever state it is in

cluster_missing() {
  [ "$(id -u)" = 0 ] || echo "not root"
  for cluster_tool in munged mungekey slurmctld slurmd sbatch srun scontrol; do
    PATH=$PATH:/usr/sbin command -v "$cluster_tool" >/dev/null 2>&1 || echo "no $cluster_tool"
  done
  unshare --uts --mount true 2>/dev/null || echo "no namespaces of host name and mounts"
}

# A port of a quiet range below the ephemeral ones; `count` in a row, none of them bound by anybody.
cluster_free_ports() {
  cluster_count=$1
  cluster_base=$((10000 + $$ % 1000 * 20))
  while cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v base="$cluster_base" -v count="$cluster_count" '
      function value(hex,  i, v) {
        for (i = 1; i <= length(hex); i++) v = v * 16 + index("0123456789ABCDEF", substr(hex, i, 1)) - 1
        return v
      }
      { n = split($2, part, ":"); port = value(part[n])
        if (port >= base && port < base + count) taken = 1 }
      END { exit !taken }'; do
    cluster_base=$((cluster_base + cluster_count))
  done
  echo "$cluster_base"
}

cluster_write_config() {
  cluster_dir=$1
  cluster_nodes=$2
  cluster_cpus=$3
  cluster_port=$(cluster_free_ports $((cluster_nodes + 1)))
  cat >"$cluster_dir/slurm.conf" <<CONF
ClusterName=shoaltest
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$cluster_port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$cluster_dir/munge.socket
CredType=cred/munge
StateSaveLocation=$cluster_dir/state
SlurmdSpoolDir=$cluster_dir/spool.%n
SlurmctldPidFile=$cluster_dir/slurmctld.pid
SlurmdPidFile=$cluster_dir/slurmd.%n.pid
SlurmctldLogFile=$cluster_dir/slurmctld.log
SlurmdLogFile=$cluster_dir/slurmd.%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TmpFS=$cluster_dir/tmp
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
KillWait=5
InactiveLimit=0
SchedulerParameters=sched_interval=1,batch_sched_delay=0
CONF
  cluster_i=1
  while [ "$cluster_i" -le "$cluster_nodes" ]; do
    echo "NodeName=v$cluster_i NodeHostname=v$cluster_i NodeAddr=127.0.0.1 Port=$((cluster_port + cluster_i)) CPUs=$cluster_cpus State=UNKNOWN" \
      >>"$cluster_dir/slurm.conf"
    cluster_i=$((cluster_i + 1))
  done
  echo "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP" >>"$cluster_dir/slurm.conf"
}

# A node has its own host name, /dev/shm and folder for temporary files, as machines have: PMIx and
# Open MPI name what they share within a node after these, and nodes that had them in common would
# take each other's files (srun --mpi=pmix: "File exists", mpirun: a crash in shared memory).
cluster_node_start() {
  unshare --uts --mount sh -c 'hostname "$2" && mount -t tmpfs shoal-shm /dev/shm &&
    mount -t tmpfs shoal-tmp "$1/tmp" && exec slurmd -N "$2"' node "$1" "$2"
}

cluster_start() {
  PATH=$PATH:/usr/sbin
  mkdir -p "$1/state" "$1/tmp"
  chmod 755 "$1"
  cluster_write_config "$@"
  export SLURM_CONF="$1/slurm.conf"
  mungekey --create --keyfile "$1/munge.key" || return 1
  # --force: the key and socket are root's, in a temporary folder, and not the system's.
  munged --force --key-file "$1/munge.key" --socket "$1/munge.socket" --pid-file "$1/munged.pid" \
    --log-file "$1/munged.log" --seed-file "$1/munged.seed" >"$1/munged.out" 2>&1 || {
    cat "$1/munged.out"
    return 1
  }
  slurmctld -i >"$1/slurmctld.out" 2>&1 || { cat "$1/slurmctld.out"; return 1; }
  for cluster_node in $(scontrol show hostnames "v[1-$2]"); do
    cluster_node_start "$1" "$cluster_node" >"$1/slurmd.out" 2>&1 || { cat "$1/slurmd.out"; return 1; }
  done
  cluster_wait=0
  while [ "$(sinfo -h -o %D -t idle 2>/dev/null)" != "$2" ]; do
    cluster_wait=$((cluster_wait + 1))
    if [ "$cluster_wait" -gt 60 ]; then
      echo "the nodes do not come up:"
      sinfo -N -l
      tail -n 5 "$1"/*.log
      return 1
    fi
    sleep 0.5
  done
}

# By process id only: other clusters may run on this machine.
cluster_stop() {
  PATH=$PATH:/usr/sbin
  [ -e "$1/slurm.conf" ] || return 0
  if [ -e "$1/slurmctld.pid" ]; then
    SLURM_CONF="$1/slurm.conf" timeout 10 scancel --user=root --signal=KILL >/dev/null 2>&1
  fi
  cluster_pids=$(cluster_processes "$1")
  # shellcheck disable=SC2086  # a list of ids
  [ -z "$cluster_pids" ] || kill $cluster_pids 2>/dev/null
  cluster_wait=0
  while [ -n "$(cluster_processes "$1")" ] && [ "$cluster_wait" -lt 20 ]; do
    cluster_wait=$((cluster_wait + 1))
    sleep 0.25
  done
  cluster_pids=$(cluster_processes "$1")
  # shellcheck disable=SC2086
  [ -z "$cluster_pids" ] || kill -KILL $cluster_pids 2>/dev/null
  return 0
}

# Whoever has the cluster's folder in its environment or command line: daemons, step managers, tasks.
# This shell and its direct children may have it too, and are left out.
cluster_processes() {
  for cluster_proc in /proc/[0-9]*; do
    cluster_pid=${cluster_proc#/proc/}
    [ "$cluster_pid" != $$ ] || continue
    if tr '\0' '\n' <"$cluster_proc/environ" 2>/dev/null | grep -q "^SLURM_CONF=$1/" ||
      tr '\0' ' ' <"$cluster_proc/cmdline" 2>/dev/null | grep -q " $1/"; then
      cluster_parent=$(awk '{ print $4 }' "$cluster_proc/stat" 2>/dev/null)
      [ "$cluster_parent" = $$ ] || echo "$cluster_pid"
    fi
  done 2>/dev/null
}
