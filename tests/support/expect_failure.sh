#!/bin/sh
# expect_failure.sh REGEX COMMAND...: passes if the command fails and exactly one line of its output
# matches the extended regular expression REGEX.
expected=$1
shift
output=$("$@" 2>&1)
status=$?
printf '%s\n' "$output"
lines=$(printf '%s\n' "$output" | grep -Ec "$expected")
echo "exit status $status, $lines lines match $expected"
[ "$status" -ne 0 ] && [ "$lines" -eq 1 ]
