#!/bin/sh
# What the setup does on a machine that lacks packages, seen through stand-ins for the tools of the
# system: it says what it installs before it does, installs nothing twice, and fails in one line.
. "$(dirname "$0")/expect.sh"

# A copy of the scripts, so that their build folder is not ours.
mkdir -p tree/launch bin
cp -r "$SHOAL_SOURCE/launch/lib" tree/launch/
stand_in() {
  printf '#!/bin/sh\n%s\n' "$2" >"bin/$1"
  chmod +x "bin/$1"
}
# Every package is there but those named in the file `absent`.
stand_in dpkg-query 'for package; do :; done
grep -qx -- "$package" "$STATE/absent" && exit 1
printf installed'
stand_in apt-get 'echo "apt-get $*" >>"$STATE/calls"
[ ! -e "$STATE/offline" ] || { echo "Could not resolve host"; exit 100; }'
stand_in sudo 'echo sudo >>"$STATE/calls"; exec "$@"'
for tool in g++ make cmake ninja pkg-config ccache git mpirun; do stand_in "$tool" 'exit 0'; done
stand_in id 'echo "${FAKE_ID:-0}"'
export STATE="$PWD" PATH="$PWD/bin:$PATH"
cat >install.sh <<'SCRIPT'
set -euo pipefail
. "$STATE/tree/launch/lib/setup.sh"
shoal_enter
shoal_install
echo done
SCRIPT

: >absent
: >calls
accepts '^done$' bash install.sh
[ "$output" = done ] || fail "speaks although nothing is missing"
[ ! -s calls ] || fail "calls apt-get although nothing is missing"

printf 'libdnnl-dev\nlibgtest-dev\n' >absent
accepts '^shoal: installing with apt-get: libdnnl-dev libgtest-dev' bash install.sh
grep -q 'update' calls && grep -q 'install.* libdnnl-dev libgtest-dev *$' calls || fail "apt-get: $(cat calls)"
grep -q sudo calls && fail "root needs no sudo"

: >calls
FAKE_ID=1000 accepts '^done$' bash install.sh
[ "$(grep -c sudo calls)" -eq 2 ] || fail "a user goes through sudo: $(cat calls)"

# Neither root nor sudo: one line that names the packages. `command -v` finds no sudo in this PATH.
mkdir bare
for tool in bash sh awk tr dirname mkdir tail grep env nproc lscpu sort head; do
  ln -sf "$(command -v "$tool")" bare/
done
cp bin/* bare/
rm bare/sudo
run env FAKE_ID=1000 PATH="$PWD/bare" bash install.sh
[ "$status" -eq 1 ] || fail "exit status $status without root and sudo"
[ "$output" = "shoal: these packages are missing and need root or sudo to install: libdnnl-dev libgtest-dev " ] ||
  fail "not one line that names the packages"

: >offline
run bash install.sh
[ "$status" -eq 1 ] || fail "exit status $status when apt-get fails"
printf '%s\n' "$output" | grep -q 'Could not resolve host' || fail "does not show why apt-get failed"
printf '%s\n' "$output" | grep -q '^shoal: apt-get update failed' || fail "does not say what failed"

stand_in cmake 'echo "cmake version 3.22.1"'
cat >check.sh <<'SCRIPT'
. "$STATE/tree/launch/lib/setup.sh"
shoal_check_cmake
SCRIPT
run bash check.sh
[ "$status" -eq 1 ] || fail "takes a cmake that is too old"
printf '%s\n' "$output" | grep -q '^shoal: cmake 3.22.1 is too old' || fail "does not say that cmake is too old"
stand_in cmake 'echo "cmake version 3.100.0"'
run bash check.sh
[ "$status" -eq 0 ] || fail "3.100 is newer than 3.25"

finish
