"""A command beside the simulated LLM: it is told the address, its exit code and a SIGTERM are passed on, no server is left."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from studies.miniature.rlaif import with_simulated_llm

ASK = """
import os, sys, urllib.request
url = os.environ["JUDGE_BASE_URL"]
print(url == sys.argv[1], url)
urllib.request.urlopen(url + "/models")
"""


def test_the_command_reaches_the_server_which_then_ends(capfd):
    assert with_simulated_llm.main(["--seed", "1", "--", "python", "-c", ASK, "BASE_URL", "--no-flag-of-ours"]) == 0
    same, url = capfd.readouterr().out.split()
    assert same == "True"
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{url}/models", timeout=5)


def test_exit_codes(capsys):
    assert with_simulated_llm.main(["--", "python", "-c", "import sys; sys.exit(3)"]) == 3
    with pytest.raises(SystemExit) as stopped:
        with_simulated_llm.main(["--", "no-such-command-here"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: no-such-command-here: No such file or directory\n"


def test_sigterm_is_passed_on():
    script = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); print('up', flush=True); time.sleep(60)"
    words = [sys.executable, "-m", with_simulated_llm.__name__, "--", "python", "-c", script]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout.readline() == "up\n"
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 7
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    "run", [f"{with_simulated_llm.__name__}:_run(words, dict(os.environ))", "accelerate_configs.launcher:run(words)"]
)
def test_sigterm_that_another_thread_takes_is_passed_on(run):
    """The interpreter sees it once its main thread comes back from waiting."""
    module, call = run.split(":")
    script = f"""
import os, signal, sys, threading, time
from {module} import {call.partition("(")[0]}

def send():
    time.sleep(1)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

threading.Thread(target=send, daemon=True).start()
words = [sys.executable, "-c", "import time; time.sleep(40)"]
sys.exit({call})
"""
    assert subprocess.run([sys.executable, "-c", script], env=os.environ, timeout=30).returncode == 128 + signal.SIGTERM
