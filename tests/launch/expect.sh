# Sourced by the tests beside it; POSIX shell. A failing expectation is printed and counted, and
# `finish` gives the status of the test.
# shellcheck shell=sh
set -u
failures=0
rm -rf "$SHOAL_WORK"
mkdir -p "$SHOAL_WORK"
cd "$SHOAL_WORK" || exit 1
mpirun="$SHOAL_SOURCE/launch/mpirun"

fail() {
  echo "FAILED: $1"
  printf '%s\n' "${output:-}" | sed 's/^/    /'
  failures=$((failures + 1))
}

# run COMMAND...: its output and status, for the checks below. Open MPI 4.1's mpirun itself crashes
# now and then on a busy machine, as it ends after a rank has failed (in PMIx_server_finalize); that
# says nothing about the ranks, so the command has another try.
run() {
  command_line=$*
  for try in 1 2 3; do
    output=$("$@" 2>&1 </dev/null)
    status=$?
    case $status:$output in
      139:*PMIx_server_finalize*) echo "mpirun crashed as it ended, try $try: $command_line" ;;
      *) return ;;
    esac
  done
}

# rejects REGEX COMMAND...: exit status 2, and exactly one line of Shoal's own, which matches.
rejects() {
  pattern=$1
  shift
  run "$@"
  said=$(printf '%s\n' "$output" | grep -c '^shoal: ')
  if [ "$status" -ne 2 ]; then
    fail "exit status $status, not 2: $command_line"
  elif [ "$said" -ne 1 ]; then
    fail "$said lines that begin with 'shoal: ', not 1: $command_line"
  elif ! printf '%s\n' "$output" | grep '^shoal: ' | grep -Eq -e "$pattern"; then
    fail "no match for '$pattern': $command_line"
  fi
}

# accepts REGEX COMMAND...: exit status 0, and some line that matches.
accepts() {
  pattern=$1
  shift
  run "$@"
  if [ "$status" -ne 0 ]; then
    fail "exit status $status: $command_line"
  elif ! printf '%s\n' "$output" | grep -Eq -e "$pattern"; then
    fail "no match for '$pattern': $command_line"
  fi
}

finish() {
  [ "$failures" -eq 0 ] || echo "$failures failed"
  exit $((failures > 0))
}
