"""checkpoint_shard.py OUT: what is in a shard of the checkpoint of step 500, with nothing but Python."""
import os
import sys

os.chdir(os.path.dirname(os.path.abspath(sys.argv[1])))

import json, struct
with open("out/step-00000500/shard-00000.safetensors", "rb") as file:
    header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    data = file.tell()
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        begin, end = tensor["data_offsets"]
        file.seek(data + begin)
        first = struct.unpack("<f", file.read(4))[0] if tensor["dtype"] == "F32" and end > begin else None
        print(name, tensor["dtype"], tensor["shape"], first)
