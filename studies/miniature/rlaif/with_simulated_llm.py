"""Run a command beside a simulated LLM: its server is up while the command runs.

    python -m studies.miniature.rlaif.with_simulated_llm --seed 0 -- \
        python -m scripts_adversarial.main --engine openai --model simulated --base_url BASE_URL …

The word BASE_URL becomes the server's address, which JUDGE_BASE_URL in the command's environment is as well: a judge whose file
names another address is asked here. Its answers cost nothing, so that none are kept (JUDGE_CACHE). Ends as the command ends.
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.miniature.rlaif.with_simulated_llm")

import os
import signal
import sys

from accelerate_configs.launcher import wait_for
from diversity_tuning.children import start
from diversity_tuning.cli import Parser, command
from diversity_tuning.errors import UserError
from diversity_tuning.flags import add_flags, read_flags
from studies.miniature.simulated_llm.answers import Settings
from studies.miniature.simulated_llm.server import simulated_server

WORD = "BASE_URL"


@command
def main(argv=None) -> int:
    parser = Parser("studies.miniature.rlaif.with_simulated_llm", __doc__)
    add_flags(parser, Settings)
    parser.add_argument("words", nargs="+", metavar="COMMAND", help="after --: what to run")
    args = parser.parse_args(argv)
    with simulated_server(read_flags(Settings, args)) as base_url:
        words = [base_url if word == WORD else word for word in args.words]
        words[0] = sys.executable if words[0] == "python" else words[0]
        return _run(words, {"JUDGE_CACHE": "", **os.environ, "JUDGE_BASE_URL": base_url})


def _run(words: list[str], variables: dict[str, str]) -> int:
    """The command's exit code. SIGTERM is passed on; Ctrl-C has reached the command already, whose end is waited for."""
    try:
        process = start(words, env=variables)
    except OSError as error:
        raise UserError(f"{words[0]}: {error.strerror}") from None
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        while True:
            try:
                code = wait_for(process)
                return code if code >= 0 else 128 - code
            except KeyboardInterrupt:
                continue
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
