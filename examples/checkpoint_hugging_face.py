"""checkpoint_hugging_face.py: an exported model in other people's packages (safetensors, transformers), which
Debian does not have: without them there is nothing to run."""
import sys

try:
    import safetensors, transformers  # noqa: E401, F401
except ImportError as error:
    print("skipped:", error)
    sys.exit(77)

from safetensors import safe_open
with safe_open("out/step-00000500/shard-00000.safetensors", "numpy") as shard:
    print({name: shard.get_slice(name).get_shape() for name in shard.keys()})

from safetensors.torch import load_file
from transformers import GPT2Config, GPT2Model
model = GPT2Model(GPT2Config(vocab_size=50304, n_positions=1024, n_embd=768, n_layer=12, n_head=12))
model.load_state_dict(load_file("model.safetensors"), strict=False)  # it makes its own causal masks
