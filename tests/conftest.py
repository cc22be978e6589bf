"""Tests run offline: nothing may wait for a hub."""

import os
import signal
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# builtin:smollm2 is converted once for all tests, worker processes and sessions; its digest is checked whenever it is opened.
os.environ.setdefault("DIVERSITY_TUNING_CACHE", str(Path(tempfile.gettempdir()) / f"diversity_tuning-tests-{os.getuid()}"))
# A background job of a shell ignores Ctrl-C, and one started by nohup a hang-up; so would every process that a test starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
