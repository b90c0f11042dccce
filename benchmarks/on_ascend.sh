#!/usr/bin/env bash
# Every figure of the published table and ours, on a host with an Ascend NPU, as one JSON file.
#
#   bash benchmarks/on_ascend.sh [FOLDER]
#
# Variables: DEVICE (0), DATASET (hmdb51), MODEL (the published checkpoint; its name or a file),
# LIMIT (all samples), LOOP (100), PYTHON (python3). What fails is noted, and the rest goes on; where
# nothing can run, on a host without an NPU or without CANN's environment, it stops and says why.
set -uo pipefail
folder=${1:-on_ascend}
device=${DEVICE:-0}
dataset=${DATASET:-hmdb51}
loop=${LOOP:-100}
python=${PYTHON:-python3}
stop() { # REASON
  echo "on_ascend: $1" >&2
  exit 2
}
cd "$(dirname "$0")/.."
published='import converters.onnx2om, engine.base.published as p; print(p.DEFAULT_CHECKPOINT)'
said=$("$python" -c "$published" 2>&1) || stop \
  "$python cannot import the engine (${said##*$'\n'}): activate its virtual environment, or give PYTHON"
model=${MODEL:-${said##*$'\n'}}
limit=(${LIMIT:+--limit "$LIMIT"})
mkdir -p "$folder"
rm -f "$folder"/{doctor,on_ascend,pure_*,run_*}.json "$folder"/failed.txt

step() { # NAME COMMAND…: what it prints goes to NAME.log
  local name=$1
  shift
  echo "== $name: $*"
  if ! "$@" > "$folder/$name.log" 2>&1; then
    echo "$name" >> "$folder/failed.txt"
    echo "   failed: $(grep -m 1 -E '^(onnx2om|engine.run|pure_inference): ' "$folder/$name.log" \
      || tail -n 1 "$folder/$name.log")"
    return 1
  fi
}
# The files of a name, whose end atc may have given the platform; separated by commas.
oms() { ls "$folder"/$1.om "$folder"/$1_linux_*.om 2> /dev/null | paste -sd, -; }
om() { step "om_$1" "$python" -m converters.onnx2om "$model" --output "$folder/net" "${@:2}"; }
pure() { # NAME FILES OPTION…: on both runtimes
  local files backend
  files=$(oms "$2")
  [ -n "$files" ] || return 0 # which has been noted
  for backend in $backends; do
    step "pure_$1_$backend" "$python" -m benchmarks.pure_inference --device "$device" --loop "$loop" \
      --backend "$backend" --model "$files" --json "$folder/pure_$1_$backend.json" "${@:3}"
  done
}
whole() { # NAME FILES
  local files backend
  files=$(oms "$2")
  [ -n "$files" ] || return 0
  for backend in $backends; do
    step "run_$1_$backend" "$python" -m engine.run --dataset "$dataset" --device "$device" \
      --backend "$backend" --model "$files" ${limit[@]+"${limit[@]}"} \
      --summary "$folder/run_$1_$backend.json"
  done
}

step doctor "$python" -m engine.doctor
"$python" -m engine.doctor --json > "$folder/doctor.json"
backends=$("$python" - "$folder/doctor.json" << 'END'
import json, sys

findings = json.load(open(sys.argv[1]))["findings"]
there = [f["topic"] for f in findings if f["there"]]
backends = [name for name in ("acl", "pyacl") if any(f"--backend {name})" in topic for topic in there)]
npus = [topic for topic in there if topic.startswith("NPU")]
if npus and backends and "atc" in there:
    print(*backends)
    sys.exit()
needed = ("CANN", "atc", "pyACL", "aclruntime") if npus else "NPU"
lack = next(f for f in findings if not f["there"] and f["topic"].startswith(needed))
print(f"{lack['topic']}: {lack['found']}", lack["advice"], sep="; " if lack["advice"] else "")
sys.exit(1)
END
) || stop "$backends. Nothing was run; $folder/doctor.log says what else this host lacks"
for backend in acl pyacl; do
  [[ " $backends " == *" $backend "* ]] && continue
  echo "== no backend $backend: doctor.log says why"
  echo "backend_$backend" >> "$folder/failed.txt"
done
# The published table: static files, execution alone.
for batch in 1 4 8; do
  om "bs$batch" --batch "$batch" && pure "bs$batch" "net_bs$batch" --batchsize "$batch"
done
om dyn --gears 1,2,4,8 && pure dyn8 net_dyn --batchsize 8
om shared --layout shared && pure shared 'net_shared_u*'
om frames --layout frames && pure frames 'net_frames_u*'
om fp16 --batch 8 --fp16-inputs --output "$folder/half" && pure fp16 half_bs8 --batchsize 8
# End to end, and the accuracy.
whole bs8 net_bs8
whole fp16 half_bs8
whole shared 'net_shared_u*'
whole frames 'net_frames_u*'

"$python" - "$folder" << 'END'
import json, sys
from pathlib import Path

folder = Path(sys.argv[1])
published = {"pure_bs1_acl": 22.05, "pure_bs4_acl": 22.16, "pure_bs8_acl": 22.39}
paths = [path for pattern in ("doctor", "pure_*", "run_*") for path in folder.glob(f"{pattern}.json")]
found = {path.stem: json.loads(path.read_text()) for path in sorted(paths)}
failed = folder / "failed.txt"
found["failed"] = failed.read_text().split() if failed.exists() else []
print(f"{'':20} {'samples/s':>10} {'published':>10} {'top-1':>8} {'top-5':>8}")
for name, about in found.items():
    if name.startswith("pure_"):
        for label, rates in about.items():
            if isinstance(rates, dict) and "throughput" in rates:
                print(f"{name:20} {rates['throughput']:10.2f} {published.get(name, ''):>10}   {label}, "
                      "execution alone")
    elif name.startswith("run_"):
        print(f"{name:20} {about['fps']:10.2f} {'':>10} {about['top1_acc'] or 0:8.4f} "
              f"{about['top5_acc'] or 0:8.4f}   end to end")
print("published accuracy: top-1 0.6922, top-5 0.9131; failed:", ", ".join(found["failed"]) or "nothing")
(folder / "on_ascend.json").write_text(json.dumps(found, indent=2))
print(f"wrote {folder / 'on_ascend.json'}")
sys.exit(bool(found["failed"]))
END
