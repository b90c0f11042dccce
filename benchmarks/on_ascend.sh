#!/usr/bin/env bash
# Every figure of the published table and ours, on a host with an Ascend NPU, as one JSON file.
#
#   bash benchmarks/on_ascend.sh [FOLDER]
#
# Variables: DEVICE (0), DATASET (hmdb51), MODEL (the published checkpoint; its name or a file),
# LIMIT (all samples), LOOP (100), PYTHON (python3). What fails is noted, and the rest goes on.
set -uo pipefail
folder=${1:-on_ascend}
device=${DEVICE:-0}
dataset=${DATASET:-hmdb51}
loop=${LOOP:-100}
python=${PYTHON:-python3}
cd "$(dirname "$0")/.."
model=${MODEL:-$("$python" -c 'from engine.assets import DEFAULT_CHECKPOINT; print(DEFAULT_CHECKPOINT)')}
limit=(${LIMIT:+--limit "$LIMIT"})
mkdir -p "$folder"
rm -f "$folder"/*.json "$folder"/failed.txt

step() { # NAME COMMAND…: what it prints goes to NAME.log
  local name=$1
  shift
  echo "== $name: $*"
  if ! "$@" > "$folder/$name.log" 2>&1; then
    echo "$name" >> "$folder/failed.txt"
    echo "   failed: $(tail -n 1 "$folder/$name.log")"
    return 1
  fi
}
om() { step "om_$1" "$python" -m converters.onnx2om "$model" --output "$folder/net" "${@:2}"; }
pure() { step "pure_$1" "$python" -m benchmarks.pure_inference --device "$device" --loop "$loop" \
  --json "$folder/pure_$1.json" "${@:2}"; }
whole() { step "run_$1" "$python" -m engine.run --dataset "$dataset" --device "$device" \
  ${limit[@]+"${limit[@]}"} --summary "$folder/run_$1.json" "${@:2}"; }

step doctor "$python" -m engine.doctor
"$python" -m engine.doctor --json > "$folder/doctor.json"
# The published table: static files, execution alone.
for batch in 1 4 8; do
  om "bs$batch" --batch "$batch" \
    && pure "bs$batch" --model "$folder/net_bs$batch.om" --batchsize "$batch"
done
om dyn --gears 1,2,4,8 && pure dyn8 --model "$folder/net_dyn.om" --batchsize 8
om shared --layout shared && pure shared --model "$(ls "$folder"/net_shared_u*.om | paste -sd, -)"
om fp16 --batch 8 --fp16-inputs --output "$folder/half" && pure fp16 --model "$folder/half_bs8.om" --batchsize 8
# End to end, and the accuracy.
for backend in acl pyacl; do
  whole "bs8_$backend" --model "$folder/net_bs8.om" --backend "$backend"
  whole "fp16_$backend" --model "$folder/half_bs8.om" --backend "$backend"
  whole "shared_$backend" --model "$(ls "$folder"/net_shared_u*.om | paste -sd, -)" --backend "$backend"
done

"$python" - "$folder" << 'END'
import json, sys
from pathlib import Path

folder = Path(sys.argv[1])
published = {"pure_bs1": 22.05, "pure_bs4": 22.16, "pure_bs8": 22.39}
found = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
failed = folder / "failed.txt"
found["failed"] = failed.read_text().split() if failed.exists() else []
print(f"{'':16} {'samples/s':>10} {'published':>10} {'top-1':>8} {'top-5':>8}")
for name, about in found.items():
    if name.startswith("pure_"):
        for label, rates in about.items():
            if isinstance(rates, dict) and "throughput" in rates:
                print(f"{name:16} {rates['throughput']:10.2f} {published.get(name, ''):>10}   {label}, "
                      "execution alone")
    elif name.startswith("run_"):
        print(f"{name:16} {about['fps']:10.2f} {'':>10} {about['top1_acc'] or 0:8.4f} "
              f"{about['top5_acc'] or 0:8.4f}   end to end")
print("published accuracy: top-1 0.6922, top-5 0.9131; failed:", ", ".join(found["failed"]) or "nothing")
(folder / "on_ascend.json").write_text(json.dumps(found, indent=2))
print(f"wrote {folder / 'on_ascend.json'}")
END
