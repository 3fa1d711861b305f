#!/bin/sh
# plan_test.sh SHOAL: plan, equal and simulate from the command line; tables of 80 columns.
shoal=$1
. "$(dirname "$0")/expect.sh"

narrow() {
  accepts "$@"
  printf '%s\n' "$output" | awk 'length($0) > 80 { exit 1 }' || fail "wider than 80: $command_line"
}
as_json() {
  accepts "$@"
  printf '%s\n' "$output" | python3 -m json.tool >json.txt 2>&1 || fail "no JSON: $command_line"
}

narrow 'cloudmatrix-384' "$shoal" plan --list
narrow 'What would help most' "$shoal" plan --model gpt-3-175b --cluster a100-ib --nodes 128 \
  --global-batch 1536 --explain
narrow 'Gigabit Ethernet' "$shoal" plan --model llama-2-7b --cluster rpi4 --decode --weights q40
narrow 'tokens/s' "$shoal" plan --model deepseek-r1 --cluster h800-ib --prefill --batch 64
narrow 'pp=8' "$shoal" plan --model gpt-3-175b --cluster a100-ib --nodes 16 --mesh tp=8,pp=8,dp=2
as_json '"seconds_by_cause"' "$shoal" plan --model gpt2 --cluster epyc-9965-10g --json
as_json '"clusters"' "$shoal" plan --list --json
narrow 'nodes to equal' "$shoal" equal --device h100-sxm --node rpi5 --model llama-2-7b --batch 1
as_json '"curve"' "$shoal" equal --device a100-80gb --node xeon-6980p --model gpt2-xl --json

narrow 'messages' "$shoal" simulate --model megatron-3.6b --cluster a100-ib --nodes 4 --mesh tp=2,dp=16 \
  --global-batch 64 --slow-rank 3=1.5 --trace trace.json
python3 -m json.tool trace.json >/dev/null || fail "the trace is no JSON"
as_json '"planned_seconds"' "$shoal" simulate --model llama-2-7b --cluster rpi4 --decode --json

# A file beside the tables, and a picture of the curve.
narrow 'nodes to equal' "$shoal" equal --device a100-80gb --node xeon-6980p --model gpt2-xl --json equal.json
python3 -m json.tool equal.json >/dev/null || fail "equal.json is no JSON"
narrow 'The best' "$shoal" plan --model gpt2 --cluster epyc-9965-10g --json plan.json
grep -q '"seconds_by_cause"' plan.json || fail "plan.json lacks the causes"
rejects 'nowhere/x.json' "$shoal" plan --model gpt2 --cluster epyc-9965-10g --json nowhere/x.json
if command -v gnuplot >/dev/null; then
  narrow 'nodes to equal' "$shoal" equal --device a100-80gb --node xeon-6980p --model gpt2-xl --svg equal.svg
  points=$(python3 -c '
import sys, xml.dom.minidom
print(len(xml.dom.minidom.parse("equal.svg").getElementsByTagName("circle")))') || fail "equal.svg is no XML"
  wanted=$(python3 -c '
import json
measures = [m for m in json.load(open("equal.json"))["measures"] if m.get("curve") and m["device"] > 0][:5]
print(sum(p["tokens_per_second"] > 0 for m in measures for p in m["curve"]))')
  [ "${points:-0}" -eq "$wanted" ] || fail "$points points in equal.svg, not $wanted"
  rejects 'nowhere/x.svg' "$shoal" equal --device a100-80gb --node xeon-6980p --model gpt2-xl --svg nowhere/x.svg
fi

rejects '3=x' "$shoal" simulate --model gpt2 --cluster a100-ib --nodes 1 --slow-rank 3=x
rejects '9999' "$shoal" simulate --model gpt2 --cluster a100-ib --nodes 1 --slow-rank 9999=2
rejects 'nowhere' "$shoal" simulate --model gpt2 --cluster a100-ib --nodes 1 --trace nowhere/x.json
rejects 'model' "$shoal" plan --cluster rpi4
rejects 'nowhere.*gpt2' "$shoal" plan --model nowhere --cluster rpi4
rejects 'nowhere.*rpi4' "$shoal" plan --model gpt2 --cluster nowhere
rejects 'nowhere.json' "$shoal" plan --model nowhere.json --cluster rpi4
rejects 'does not fit.*more nodes' "$shoal" plan --model gpt-3-175b --cluster a100-ib --nodes 1
rejects '7 does not divide 96' "$shoal" plan --model gpt-3-175b --cluster a100-ib --mesh dp=1,tp=7
rejects 'axis' "$shoal" plan --model gpt2 --cluster a100-ib --mesh xp=2
rejects 'no number' "$shoal" plan --model gpt2 --cluster a100-ib --mesh tp
rejects 'no number' "$shoal" plan --model gpt2 --cluster a100-ib --mesh tp=99999999999
rejects 'context|1024' "$shoal" plan --model gpt2 --cluster a100-ib --context 4096
rejects 'train' "$shoal" plan --model gpt2 --cluster a100-ib --train --decode
rejects 'batch' "$shoal" plan --model gpt2 --cluster a100-ib --batch 4
rejects 'nobody trains' "$shoal" plan --model gpt2 --cluster a100-ib --dtype int8
rejects 'nodes' "$shoal" plan --model gpt2 --cluster a100-ib --nodes 0
echo '{"kind": "model"}' >bad.json
rejects 'bad.json.*missing' "$shoal" plan --model bad.json --cluster a100-ib
rejects 'nowhere' "$shoal" equal --device nowhere --node rpi4 --model gpt2

# A profile of one's own comes before those installed.
mkdir -p own/models
sed 's/"layers": 12/"layers": 6/' "$SHOAL_SOURCE/planning/profiles/models/gpt2.json" >own/models/gpt2.json
SHOAL_PROFILES=$PWD/own
export SHOAL_PROFILES
accepts '81.9 M' "$shoal" plan --model gpt2 --cluster a100-ib

finish
