#!/bin/sh
# compare.sh SOURCES SERIAL LAUNCHER...: the program that LAUNCHER starts prints the losses of SERIAL, to
# rounding; and the two sources differ in no more than ten lines of code.
sources=$1 serial=$2
shift 2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
"$serial" >"$work/serial" && "$@" >"$work/parallel" || exit 1
paste "$work/serial" "$work/parallel" | awk '
  { print $4, $8; difference = $4 - $8; if (difference < 0) difference = -difference }
  NF != 8 || difference > 0.0002 { wrong = 1 }
  END { exit wrong || NR != 5 }' || { echo "the losses differ" >&2; exit 1; }
more=$(diff "$sources/serial.cpp" "$sources/parallel.cpp" | grep -c '^> *[^ /]')
[ "$more" -le 10 ] || { echo "$more lines were needed, not ten" >&2; exit 1; }
echo "$more lines more, the same losses"
