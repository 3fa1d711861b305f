#!/bin/sh
# report_test.sh SHOAL: measures a small set, and opens the page in a browser without a network: every
# chart is there with all points of its JSON file, and nothing is asked for. Refusals come first.
shoal=$1
. "$(dirname "$0")/expect.sh"

rejects 'no files of a report|No such file' "$shoal" report --from nowhere
mkdir empty
rejects 'no files of a report' "$shoal" report --from empty
rejects 'excludes' "$shoal" report --from empty --quick
rejects 'minutes' "$shoal" report --minutes 0
rejects 'Not a directory|File exists' "$shoal" report --out "$shoal"

for tool in gnuplot chromium python3; do
  if ! command -v "$tool" >/dev/null; then
    echo "skipped: $tool is not installed"
    [ "$failures" -eq 0 ] || exit 1
    exit 77
  fi
done

accepts '/page/report.html$' "$shoal" report --quick --out page
if grep -q '"failed"' page/report.json; then fail "a measurement failed: $(grep problem page/report.json)"; fi
rejects 'there is a report in it' "$shoal" report --quick --out page

# What is measured is kept, what is missing is measured again.
before=$(cksum <page/collectives.json)
rm page/kernels.json
accepts '1/[0-9]* Matrix products' "$shoal" report --quick --continue --out page
[ "$(cksum <page/collectives.json)" = "$before" ] || fail "--continue measured the collectives again"
[ -s page/kernels.json ] || fail "--continue did not measure the products"

# Drawn again it is the same page.
cp page/report.html first.html
accepts 'report.html' "$shoal" report --from page
cmp -s first.html page/report.html || fail "--from draws another page"

# The policy of the page is taken out: it would hide what the page would ask for.
sed 's/<meta http-equiv="Content-Security-Policy"[^>]*>//' page/report.html >page/open.html
cmp -s page/report.html page/open.html && fail "the page has no policy"
browse() {
  timeout 120 chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync --disable-default-apps \
    --disable-extensions --user-data-dir="$PWD/profile" --log-net-log="$PWD/net.json" "$@" 2>chromium.log
}
browse --dump-dom "file://$PWD/page/open.html" >dom.html || fail "chromium: $(tail -n 3 chromium.log)"
output=$(python3 "$SHOAL_SOURCE/tests/launch/check_page.py" dom.html page net.json 2>&1) ||
  fail "the page in the browser"
printf '%s\n' "$output"

finish
