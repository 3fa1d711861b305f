# Sourced by the lab's tests; POSIX shell.
# shellcheck shell=sh

# Ends the test as skipped, and says why, where no lab can be made.
require_lab() {
  reason=
  [ "$(id -u)" = 0 ] || reason="needs root"
  for tool in ip tc nsenter unshare mpirun; do
    command -v "$tool" >/dev/null 2>&1 || reason="there is no $tool"
  done
  if [ -z "$reason" ] && ! unshare --net --uts --ipc --mount true 2>/dev/null; then
    reason="this machine makes no namespaces"
  fi
  if [ -z "$reason" ] && ! unshare --net tc qdisc add dev lo root tbf rate 1mbit burst 10kb latency 1ms; then
    reason="this kernel has no tbf"
  fi
  if [ -z "$reason" ] && [ -z "$(cpu_groups)" ]; then reason="no writable control groups"; fi
  [ -n "$reason" ] || return 0
  echo "skipped: $reason"
  exit 77
}

# Where groups for processors are made.
cpu_groups() {
  awk '($3 == "cgroup" && ("," $4 ",") ~ /,cpu,/) { v1 = $2 }
    $3 == "cgroup2" { v2 = $2 }
    END { print v1 != "" ? v1 : v2 }' /proc/self/mounts | while read -r root; do
    [ ! -w "$root/cgroup.procs" ] || echo "$root"
  done
}

# lab_groups PREFIX: control groups of the labs or hosts of this name.
lab_groups() {
  for folder in "$(cpu_groups)/shoal-lab.$1"*; do
    [ ! -d "$folder" ] || echo "$folder"
  done
}

# How many processes are in a lab.
processes_in() {
  lab_groups "$1." | while read -r folder; do cat "$folder/cgroup.procs" 2>/dev/null; done | wc -l
}

# wait_until CONDITION: up to 60 s.
wait_until() {
  tries=0
  until eval "$1"; do
    tries=$((tries + 1))
    [ "$tries" -le 600 ] || return 1
    sleep 0.1
  done
}

# No group, process, file or namespace of this lab.
nothing_left() {
  [ -z "$(lab_groups "$1.")" ] || fail "groups are left: $(lab_groups "$1.")"
  for file in /run/shoal-lab/"$1"*; do
    [ ! -e "$file" ] || fail "$file is left"
  done
  left=$(for entry in /proc/[0-9]*; do
    # shellcheck disable=SC2002  # a process may end before it is read: cat says so, quietly
    cat "$entry/cmdline" 2>/dev/null | tr '\0' ' ' | grep "lab hold $1/"
  done)
  [ -z "$left" ] || fail "processes are left: $left"
  ! grep -q "shoal-lab/$1/" /proc/[0-9]*/mountinfo 2>/dev/null || fail "mounts are left"
}

stop_labs() {
  for each; do
    "$shoal" lab down --name "$each" >/dev/null 2>&1
  done
}
