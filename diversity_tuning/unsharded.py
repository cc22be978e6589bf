"""Models beside the trained one, such as rewards and encoders, are whole in every process."""

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def unsharded() -> Iterator[None]:
    """Load a model inside as if there were no DeepSpeed.

    Under ZeRO-3 every ``from_pretrained`` makes empty, sharded weights, which only the engine that trains them gathers.
    """
    deepspeed = sys.modules.get("transformers.integrations.deepspeed")
    reference = getattr(deepspeed, "_hf_deepspeed_config_weak_ref", None)
    config = reference() if reference is not None else None
    if config is None:
        yield
        return
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed.set_hf_deepspeed_config(config)
