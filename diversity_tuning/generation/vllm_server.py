"""A vLLM server with LoRA adapters: started here, waited for, and stopped whatever happens.

with VllmServer("meta-llama/Llama-3.1-8B", {"dpo": "runs/dpo", "ddpo": "runs/ddpo"}, log="vllm.log") as server:
    server.start(max_model_len=4096)
    ...  # server.url is an OpenAI-compatible API in which every adapter is a model
"""

import atexit
import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import httpx2

from diversity_tuning.builtin import model_source
from diversity_tuning.children import start
from diversity_tuning.errors import UserError
from diversity_tuning.generation.remote import client_of
from diversity_tuning.public import key_of, printable

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that `--max-lora-rank` takes
_MOST_AT_ONCE = 8  # adapters on the GPU; more of them wait in the memory of the CPU
_GRACE = 30.0  # seconds to end after SIGTERM


class VllmServer:
    """`vllm serve` with these adapters (name: folder), on a free port of this machine.

    ``tensor_parallel``: GPUs that share one copy of the model; ``data_parallel``: copies, None for one on every visible GPU.
    ``flags``: more of `vllm serve`. ``timeout``: seconds until it must answer. The executable is $VLLM or the PATH's `vllm`.
    """

    def __init__(
        self, base_model: str, adapters: dict[str, str], log: str | Path, tensor_parallel: int = 1,
        data_parallel: int | None = None, dtype: str | None = None, flags: str = "", timeout: float = 1800,
        trust_remote_code: bool = False,
    ):  # fmt: skip
        if tensor_parallel < 1 or (data_parallel is not None and data_parallel < 1):
            raise UserError("--tensor_parallel and --data_parallel must be at least 1")
        self.base_model, self.adapters, self.log = base_model, dict(adapters), Path(log)
        self._rank = max(map(lora_rank, self.adapters.values()), default=0)
        self.tensor_parallel = tensor_parallel
        self.data_parallel = data_parallel or max(1, gpus() // tensor_parallel)
        self.timeout = timeout
        self._flags = [*(["--dtype", dtype] if dtype else []), *(["--trust-remote-code"] if trust_remote_code else [])]
        self._flags += shlex.split(flags)
        self._process: subprocess.Popen | None = None
        self._guard: subprocess.Popen | None = None
        self._held: socket.socket | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def gpus(self) -> int:
        return self.tensor_parallel * self.data_parallel

    def command(self, max_model_len: int) -> list[str]:
        """What is started."""
        source = model_source(self.base_model)
        words = [
            executable(), "serve", source, "--host", "127.0.0.1", "--port", str(self.port),
            "--generation-config", "vllm",  # every setting comes with the request, none from the model's folder
            "--max-model-len", str(max_model_len),
            "--tensor-parallel-size", str(self.tensor_parallel), "--data-parallel-size", str(self.data_parallel),
        ]  # fmt: skip
        if not gpus():
            # A seeded request whose prompt is read in parts ends vLLM 0.32 on a CPU ("CPU Generator does not use offset").
            words.append("--no-enable-chunked-prefill")
        if source != self.base_model:
            words += ["--served-model-name", self.base_model]
        if self.adapters:
            number = len(self.adapters)
            # vLLM 0.32 on a CPU reads "no adapter" as the last slot where requests with and without one share a step: an
            # empty slot more, so that the base model answers as itself.
            slots = min(number, _MOST_AT_ONCE) if gpus() else number + 1
            words += ["--enable-lora", "--max-lora-rank", str(self._rank), "--max-loras", str(slots)]
            words += ["--max-cpu-loras", str(max(number, slots)), "--lora-modules"]
            words += [f"{name}={Path(folder).resolve()}" for name, folder in self.adapters.items()]
        return words + self._flags

    def start(self, max_model_len: int) -> None:
        """Start it, where it is not running yet, and wait until it answers; a :class:`UserError` where it does not."""
        if self._process is not None:
            return
        key_of("VLLM_API_KEY")
        self._held = _held_port()
        self.port = self._held.getsockname()[1]
        words = self.command(max_model_len)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        print(f"vLLM: {len(self.adapters)} adapters; its log: {self.log}", flush=True)
        _end_by_exit()
        atexit.register(self.stop)
        with self.log.open("ab") as stream:
            stream.write(f"$ {shlex.join(words)}\n".encode())
            stream.flush()
            # A session of its own: Ctrl-C reaches this process, which then stops the server and all of its children.
            self._process = start(
                words, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._guard = _guard(self._process.pid)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def check(self, seconds: float = 0) -> None:
        """A :class:`UserError` with the last line of its log where the server has ended, or does so within ``seconds``."""
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(seconds)
            raise UserError(f"vLLM ended with code {code}: {self._last_line()}; its log: {self.log}")

    def stop(self) -> None:
        """End the server and its children; may be called again."""
        process, self._process = self._process, None
        if process is None:
            return
        atexit.unregister(self.stop)
        if process.poll() is None:
            _signal_group(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
        _signal_group(process, signal.SIGKILL)  # what has not ended, children that outlived the server included
        process.wait()
        if self._guard:
            self._guard.kill()
            self._guard.communicate()
        self._held.close()

    def _wait(self) -> None:
        end = time.monotonic() + self.timeout
        key = key_of("VLLM_API_KEY")
        with client_of(self.url, 10, {"Authorization": f"Bearer {key}"} if key else {}) as client:
            while True:
                self.check()
                with contextlib.suppress(httpx2.HTTPError):
                    if client.get(self.url.removesuffix("/v1") + "/health").status_code == 200:
                        break
                if time.monotonic() > end:
                    raise UserError(f"vLLM has not answered for {self.timeout:g} s (--server_timeout); its log: {self.log}")
                time.sleep(min(1.0, self.timeout / 20))
            try:
                served = {str(model["id"]) for model in client.get(f"{self.url}/models").json()["data"]}
            except (httpx2.HTTPError, ValueError, KeyError, TypeError):
                raise UserError(f"vLLM does not say which models it serves; its log: {self.log}") from None
        if missing := sorted(self.adapters.keys() - served):
            raise UserError(f"vLLM serves {', '.join(sorted(served))} and not {', '.join(missing)}; its log: {self.log}")

    def _last_line(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line for line in lines if "Error" in line]
        return printable(" ".join((errors or lines or ["no output"])[-1].split()))[:300]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def executable() -> str:
    """Where vLLM is; a :class:`UserError` where it is not."""
    found = os.environ.get("VLLM") or shutil.which("vllm")
    if not found or not shutil.which(found):
        raise UserError(
            f"{found or 'vllm'}: not installed; pip install vllm (in an environment of its own: VLLM=/path/to/bin/vllm),"
            " or give --engine local"
        )
    return found


def lora_rank(adapter: str) -> int:
    """The smallest ``--max-lora-rank`` that takes an adapter; a :class:`UserError` for one that vLLM cannot serve."""
    try:
        config = json.loads((Path(adapter) / "adapter_config.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{adapter}: no adapter here (adapter_config.json); was its training finished?") from None
    unserved = [name for name in ("use_dora", "modules_to_save", "lora_bias") if config.get(name)]
    if unserved:
        raise UserError(f"{adapter}: vLLM cannot serve adapters with {unserved[0]}; give --engine local")
    rank = max([config["r"], *(config.get("rank_pattern") or {}).values()])
    fitting = [size for size in RANKS if size >= rank]
    if not fitting:
        raise UserError(f"{adapter}: rank {rank}; vLLM serves up to {RANKS[-1]}; give --engine local")
    return fitting[0]


def gpus() -> int:
    """GPUs that this process may use; 0 for a build of vLLM for the CPU."""
    import torch

    return torch.cuda.device_count()


def _held_port() -> socket.socket:
    """A socket on a free port, which nobody else is given while it is open.

    vLLM binds the port many seconds later and shares one that another vLLM has bound (SO_REUSEPORT): two commands with the
    same number would get answers of each other's adapters. This socket does not listen, so that all requests are the server's.
    """
    held = socket.socket()
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        held.setsockopt(socket.SOL_SOCKET, option, 1)
    held.bind(("127.0.0.1", 0))
    return held


def _guard(group: int) -> subprocess.Popen:
    """A shell that ends the server's processes when this one has gone without doing so (kill -9): its input then ends.

    The system sends the server SIGTERM in that case (:func:`.children.start`), which vLLM does not heed while it starts.
    """
    script = 'read _; kill -s TERM -- "-$1" && sleep "$2" && kill -s KILL -- "-$1"'
    words = ["sh", "-c", script, "sh", str(group), str(_GRACE)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True, **quiet)


def _signal_group(process: subprocess.Popen, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _end_by_exit() -> None:
    """Make SIGTERM and a closed terminal end this process like an error does, so that the server is stopped."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _exit)


def _exit(number, _frame):
    raise SystemExit(128 + number)
