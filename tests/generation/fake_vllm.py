"""Stands in for `vllm` in tests: takes the flags of `vllm serve`, answers on loopback, starts a child as vLLM does.

FAKE_VLLM: a folder; calls.jsonl there gets every start (argv and the child's pid), bodies.jsonl every request. A file ``fault``
there holds ``die`` (end at once), ``silent`` (never healthy), ``crash`` (end at the third request),
``slow`` (answers the first request alone) or ``stubborn`` (ignores SIGTERM).
"""

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(os.environ.get("FAKE_VLLM", "."))
FAULT = (FOLDER / "fault").read_text() if (FOLDER / "fault").is_file() else ""
READY = time.monotonic() + 0.3


def parse(argv):
    """Only what vLLM documents; anything else is an error, as there."""
    parser = argparse.ArgumentParser(prog="vllm")
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--generation-config", default="auto")
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--tensor-parallel-size", type=int, default=1)
    parser.add_argument("--data-parallel-size", type=int, default=1)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--gpu-memory-utilization", type=float, default=0.9)
    parser.add_argument("--no-enable-chunked-prefill", action="store_true")
    parser.add_argument("--enable-lora", action="store_true")
    parser.add_argument("--max-lora-rank", type=int, choices=[1, 8, 16, 32, 64, 128, 256, 320, 512], default=16)
    parser.add_argument("--max-loras", type=int, default=1)
    parser.add_argument("--max-cpu-loras", type=int)
    parser.add_argument("--lora-modules", nargs="+", default=[])
    return parser.parse_args(argv)


def record(name, content):
    with (FOLDER / name).open("a") as stream:
        stream.write(json.dumps(content) + "\n")


def main():
    args = parse(sys.argv[1:])
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    record("calls.jsonl", {"argv": sys.argv[1:], "pid": os.getpid(), "child": child.pid})
    print("INFO starting", flush=True)
    if FAULT == "die":
        child.kill()
        sys.exit("torch.OutOfMemoryError: CUDA out of memory")
    if FAULT == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    served = [args.model, *(word.partition("=")[0] for word in args.lora_modules)]
    requests, turns = [], itertools.count()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/health":
                self.answer(503 if FAULT == "silent" or time.monotonic() < READY else 200, {})
            elif self.path == "/v1/models":
                self.answer(200, {"data": [{"id": name} for name in served]})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            requests.append(body)
            record("bodies.jsonl", {**body, "path": self.path, "key": self.headers["authorization"]})
            if FAULT == "crash" and len(requests) >= 3:
                print("RuntimeError: engine core died", flush=True)
                child.kill()
                os._exit(1)
            if FAULT == "slow" and next(turns) > 0:  # drawn once by each: two at once are not both the second
                time.sleep(600)
            if body["model"] not in served:
                self.answer(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
                return
            shift = served.index(body["model"]) + body["seed"]
            ids = [8 + (shift + i) % 40 for i in range(body["max_tokens"] if shift % 2 else 5)]
            ended = len(ids) < body["max_tokens"]
            ids += [body["stop_token_ids"][0]] if ended else []
            choice = {"text": "not read", "token_ids": ids, "finish_reason": "stop" if ended else "length"}
            self.answer(
                200, {"choices": [choice], "usage": {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(ids)}}
            )

        def answer(self, status, content):
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer((args.host, args.port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
