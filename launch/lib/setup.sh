# shellcheck shell=bash
# Everything a bare Debian 12 or Ubuntu machine needs before the first command runs: packages, a
# configured build folder, a build. Sourced by launch/demo and launch/test; bash.
#
# After `shoal_enter` the working directory is the root of the repository.

# Tools by the command they bring (any version of them will do, wherever it comes from), libraries by
# package.
SHOAL_TOOLS="g++:g++ make:make cmake:cmake ninja:ninja-build pkg-config:pkg-config ccache:ccache
  git:git mpirun:openmpi-bin awk:mawk"
SHOAL_LIBRARIES="libopenmpi-dev libopenblas-openmp-dev libdnnl-dev libhwloc-dev libcli11-dev
  nlohmann-json3-dev libspdlog-dev libfmt-dev libgtest-dev libbenchmark-dev libxxhash-dev
  iproute2 gnuplot-nox ca-certificates"
# Only for launch/test: what the PyTorch backend is built for. Debian's 1.13 is what it is tested with.
SHOAL_TORCH_PACKAGES="python3-torch libtorch-dev pybind11-dev python3-dev"
# Only for the tests with the label slurm.
SHOAL_SLURM_PACKAGES="slurmctld slurmd slurm-client munge"
# Only for the tests with the label wide: what opens the page of shoal report.
SHOAL_PAGE_PACKAGES="chromium"
# Only for launch/docs, and the test that the site can be built.
SHOAL_DOCS_PACKAGES="doxygen doxygen-awesome-css mkdocs mkdocs-material"
SHOAL_CMAKE_MINIMUM=3.25

shoal_say() { echo "shoal: $*" >&2; }
shoal_fail() {
  echo "shoal: $1" >&2
  exit "${2:-1}"
}

# Goes to the root of the repository, wherever the script was called from.
shoal_enter() {
  cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
  . launch/lib/cores.sh
  export LC_ALL=C  # numbers with a point, messages that the scripts understand
  trap 'shoal_say "interrupted"; exit 130' INT
  trap 'shoal_say "ended"; exit 143' TERM
}

# The packages that are not there, one a line.
shoal_missing_packages() {
  local entry package
  for entry in $SHOAL_TOOLS; do
    command -v "${entry%%:*}" >/dev/null 2>&1 || echo "${entry#*:}"
  done
  for package in $SHOAL_LIBRARIES; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
  done
}

# Installs what is missing and says what that is before it does. Touches nothing if all is there.
shoal_install() {
  if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
    # shellcheck disable=SC2086,SC2116  # one line of it
    shoal_say "no Debian or Ubuntu: expecting these to be installed: $(echo $SHOAL_LIBRARIES)"
    return
  fi
  local missing
  missing=$(shoal_missing_packages | tr '\n' ' ')
  [ -n "$missing" ] || return 0

  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 ||
      shoal_fail "these packages are missing and need root or sudo to install: $missing"
    as_root=(sudo)
  fi
  shoal_say "installing with apt-get: $missing"
  mkdir -p build
  shoal_apt update
  # shellcheck disable=SC2086  # a list of packages
  shoal_apt install --no-install-recommends $missing
}

# apt-get, quiet unless it fails; waits while another program holds its lock.
shoal_apt() {
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" >build/apt.log 2>&1; then
    tail -n 15 build/apt.log >&2
    shoal_fail "apt-get $1 failed (above; all of it in build/apt.log): see whether the network and the package sources work, then run this again"
  fi
}

shoal_check_cmake() {
  local version
  version=$(cmake --version | awk 'NR == 1 { print $3 }')
  if [ "$(printf '%s\n' "$SHOAL_CMAKE_MINIMUM" "$version" | sort -V | head -n 1)" != "$SHOAL_CMAKE_MINIMUM" ]; then
    shoal_fail "cmake $version is too old, $SHOAL_CMAKE_MINIMUM is needed: install a newer one with 'pip install cmake', 'snap install cmake --classic' or from https://apt.kitware.com, first in PATH"
  fi
}

# Compilers at a time: one a core, and about 1.5 GB of memory for each.
shoal_jobs() {
  awk -v cores="$(shoal_processors)" '
    /^MemAvailable:/ { jobs = int($2 / 1500000) }
    END { if (!jobs || jobs > cores) jobs = cores; print jobs < 1 ? 1 : jobs }' /proc/meminfo
}

# shoal_build TARGET...: configures and builds the release preset. Quiet unless it fails. Tests that run
# the scripts on what is built already set SHOAL_BUILT.
shoal_build() {
  [ -z "${SHOAL_BUILT:-}" ] || return 0
  local log=build/release/setup.log warnings=OFF
  [ -z "${CI:-}" ] || warnings=ON
  mkdir -p build/release
  : >"$log"
  shoal_check_cmake
  shoal_say "building build/release ($(shoal_jobs) jobs, log in $log)"
  local start=$SECONDS
  if ! cmake --preset release -DSHOAL_WARNINGS_AS_ERRORS=$warnings >>"$log" 2>&1; then
    tail -n 30 "$log" >&2
    shoal_fail "cmake could not configure the build (above; all of it in $log)"
  fi
  if ! cmake --build --preset release -j "$(shoal_jobs)" --target "$@" >>"$log" 2>&1; then
    # With several jobs the error is seldom in the last lines.
    grep -E -m 20 -A 6 '(error|Error|undefined reference|FAILED)' "$log" >&2 || tail -n 30 "$log" >&2
    shoal_fail "the build failed (above; all of it in $log)"
  fi
  shoal_say "built in $((SECONDS - start)) s"
}
