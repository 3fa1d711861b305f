#!/bin/sh
# check_readme.sh README PROGRAM: the block of C++ in the README is the program, line for line.
awk '/^```cpp$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$1" | diff - "$2" || {
  echo "$1 and $2 differ: copy the program into the block" >&2
  exit 1
}
