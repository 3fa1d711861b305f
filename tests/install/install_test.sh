#!/bin/bash
# install_test.sh BUILD SOURCE: installs into an empty folder, then a separate project that finds the package
# there builds and runs; so do a line with pkg-config, the installed executable, and what cpack packs.
set -euo pipefail
build=$1 source=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
fail() {
  echo "$1" >&2
  exit 1
}
run() { "$source/launch/mpirun" -n 2 --bind-to none --timeout 60 "$@"; }
# The libraries that are found are those of the prefix.
from_prefix() {
  ldd "$2" | grep libshoal >libraries
  ! grep -v "=> $1/" libraries >&2 || fail "$2 takes libraries from elsewhere than $1"
}

cmake --install "$build" --prefix "$folder/first" >log || fail "$(tail log)"
mv first prefix  # it may move
! grep -rl "$source\|$build" prefix/include prefix/lib/cmake prefix/lib/pkgconfig ||
  fail "installed files name the source or the build"
cmake -S "$source/tests/install/project" -B guest -DCMAKE_PREFIX_PATH="$folder/prefix" \
  -DCMAKE_BUILD_TYPE=Release -DEMBED_SOURCE="$source/examples/embed.cpp" >log 2>&1 || fail "$(cat log)"
cmake --build guest -j 2 >log 2>&1 || fail "$(cat log)"
from_prefix "$folder/prefix" guest/embed
run guest/embed | grep -qx '2 ranks: y\[999\] = 17492500' || fail "embed"
run guest/plain_c | grep -qx '2 ranks from C' || fail "plain_c"
run guest/beside | grep -qx '9900 beside MPI and OpenMP, as rank 1' || fail "beside"

# The quick start of the guide, pasted as it stands.
[ -x /usr/bin/python3 ] || fail "there is no python3 to take it from its page"
mkdir pasted
page() { /usr/bin/python3 -B "$source/tests/docs/extract_block.py" "$source/docs/$1" "$2" 1; }
page quick_start.md cpp >pasted/program.cpp && page install.md cmake >pasted/CMakeLists.txt || fail "the guide"
[ "$(wc -l <pasted/program.cpp)" -le 40 ] || fail "the quick start has more than 40 lines"
cmake -S pasted -B pasted/build -DCMAKE_PREFIX_PATH="$folder/prefix" -DCMAKE_BUILD_TYPE=Release >log 2>&1 ||
  fail "$(cat log)"
cmake --build pasted/build >log 2>&1 || fail "$(cat log)"
from_prefix "$folder/prefix" pasted/build/program
run pasted/build/program | grep -qx '2 ranks: the largest eigenvalue is 405690.2040' || fail "the quick start"
if /usr/bin/python3 -c 'import numpy' 2>/dev/null; then
  page quick_start.md python >pasted/program.py
  PYTHONPATH="$folder/prefix/lib/python3/dist-packages" run /usr/bin/python3 -B pasted/program.py |
    grep -qx '2 ranks: the largest eigenvalue is 405690.2040' || fail "the quick start in Python"
fi

cat >refused.txt <<'EOF'
cmake_minimum_required(VERSION 3.25)
project(guest LANGUAGES CXX)
find_package(shoal 99.0 REQUIRED)
EOF
mkdir refused && mv refused.txt refused/CMakeLists.txt
! cmake -S refused -B refused/build -DCMAKE_PREFIX_PATH="$folder/prefix" >log 2>&1 || fail "version 99 is found"

export PKG_CONFIG_PATH="$folder/prefix/lib/pkgconfig"
# shellcheck disable=SC2046  # flags
c++ -O1 "$source/examples/embed.cpp" $(pkg-config --cflags --libs shoal) -Wl,-rpath,"$folder/prefix/lib" -o by_pc
run ./by_pc | grep -qx '2 ranks: y\[999\] = 17492500' || fail "by pkg-config"
# shellcheck disable=SC2046
cc "$source/tests/install/project/plain.c" $(pkg-config --cflags --libs shoal_c) \
  -Wl,-rpath,"$folder/prefix/lib" -o c_by_pc
run ./c_by_pc | grep -qx '2 ranks from C' || fail "C by pkg-config"
for library in runtime collectives kernels models c; do
  readelf -d "prefix/lib/libshoal_$library.so" | grep -q "SONAME.*libshoal_$library\.so\.[0-9]" ||
    fail "libshoal_$library.so has no SONAME with a version"
done
# Public headers compile alone, without MPI's.
for header in $(cd prefix/include && find shoal -name '*.hpp' ! -name mpi_interop.hpp); do
  echo "#include <$header>"
done >all.cpp
c++ -std=c++20 -Iprefix/include -M all.cpp | grep -E '/(mpi|cblas|dnnl)\.h' && fail "a public header pulls in MPI's or BLAS's"
from_prefix "$folder/prefix" prefix/bin/shoal
prefix/bin/shoal --version >/dev/null || fail "the executable does not run"

if command -v dpkg-shlibdeps >/dev/null; then
  cpack --config "$build/CPackConfig.cmake" -B "$folder/packed" >log 2>&1 || fail "$(tail -n 20 log)"
  deb=$(ls packed/shoal_*.deb)
  depends=$(dpkg-deb -f "$deb" Depends)
  for package in libopenmpi3 libopenblas0-openmp; do
    echo "$depends" | grep -q "$package" || fail "the package does not depend on $package: $depends"
  done
  echo "$depends" | grep -q torch && fail "who computes in C++ gets PyTorch: $depends"
  dpkg-deb -x "$deb" unpacked
  [ ! -e unpacked/usr/lib/python3/dist-packages/shoal_torch ] || fail "the backend is in the package of the libraries"
  # PyTorch's backend, where it was built, is a package of its own.
  for deb in packed/python3-shoal-torch_*.deb; do
    [ -e "$deb" ] || continue
    depends=$(dpkg-deb -f "$deb" Depends)
    for package in shoal python3-torch; do
      echo "$depends" | grep -q "$package" || fail "PyTorch's backend does not depend on $package: $depends"
    done
    dpkg-deb -c "$deb" >contents
    grep -q 'shoal_torch/_C\..*\.so$' contents || fail "PyTorch's backend is not in its package"
  done
  from_prefix "$folder/unpacked/usr" unpacked/usr/bin/shoal
  run unpacked/usr/bin/shoal info >log 2>&1 || fail "$(cat log)"
fi
