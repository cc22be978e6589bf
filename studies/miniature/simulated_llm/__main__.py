"""Start the simulated LLM of the miniature: an OpenAI-compatible server on this machine, for judging roles without an LLM.

    python -m studies.miniature.simulated_llm --port 8123 &
    python -m scripts_adversarial.main --engine openai --model simulated --base_url http://127.0.0.1:8123/v1 …
    python -m studies.miniature.simulated_llm --length_bias 0.6 --leniency 0.2 --seed 1

The one line on stdout is its base URL. It stops with Ctrl-C, SIGTERM, or when the process that started it has ended. It reads
the text of its prompts alone, knows a fixed pool of flaws of the synthetic stories, and errs by its draws: the same prompt with
the same seed gets the same reply. What it says shows how a pipeline works, not what an LLM would say.
"""

import os
import signal
import threading
import time
from dataclasses import dataclass

from diversity_tuning.cli import command
from diversity_tuning.errors import UserError
from diversity_tuning.flags import flag, parse_flags
from diversity_tuning.ranges import Flags
from studies.miniature.simulated_llm.answers import Settings
from studies.miniature.simulated_llm.server import SimulatedServer


@dataclass(frozen=True)
class ServerConfig(Flags):
    """Where it listens."""

    port: int = flag("0: a free one", default=0, least=0, below=2**16)


@command
def main(argv=None) -> None:
    args, settings = parse_flags((ServerConfig, Settings), "studies.miniature.simulated_llm", __doc__, argv)
    try:
        server = SimulatedServer(settings, args.port)
    except (OSError, OverflowError) as error:
        raise UserError(f"--port {args.port}: cannot be taken ({error}); 0 takes a free one") from None
    threading.Thread(target=_stop_with_parent, args=(server, os.getppid()), daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(server.base_url, flush=True)
    with server:
        server.serve_forever(poll_interval=0.1)


def _stop_with_parent(server: SimulatedServer, parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    server.shutdown()


if __name__ == "__main__":
    main()
