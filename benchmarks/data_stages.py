"""What the data stages cost against size, and beside them a plain per-row reference, in one run.

python -m benchmarks.data_stages --texts posts.jsonl.gz --tokenizer FOLDER --sizes 300 1000 --output /tmp/data_stages
python -m benchmarks.data_stages --texts posts.jsonl.gz --tokenizer FOLDER --output results/benchmarks/data_stages \\
    --pair_source captions_full.jsonl.gz --embedding_source captions.jsonl.gz

Makes sources of the published set's shape from the texts given (``benchmarks/synthetic.py``), runs stages 0, 1 and 2 as
commands, and writes OUTPUT.json and OUTPUT.md. ``--parts`` chooses: ``stages`` (and the reference at
``--reference_sizes``), ``pairs`` (stage 2 on ``--pair_source``), ``embedding`` (one pass against a loop over prompts).
"""

if not __package__:
    raise SystemExit("error: run it as python -m benchmarks.data_stages")

import json
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import data_stages_report, measure, reference, synthetic
from diversity_tuning.cli import Parser, command
from diversity_tuning.runs import git_commit, library_versions, write_json, write_text

STAGES = ("0_data_prep_scoring", "1_data_prep_filtering", "2_data_prep_to_preference")
PARTS = ("stages", "pairs", "embedding")
SOURCES = ("texts", "pair_source", "embedding_source")


def build_parser() -> Parser:
    parser = Parser("benchmarks.data_stages", __doc__)
    parser.add_argument("--texts", help="source whose sentences the synthetic data are made of (.jsonl, .jsonl.gz)")
    parser.add_argument("--tokenizer", required=True, help="stage 1's --model_to_use: a folder, or a hub id")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000], help="prompts")
    parser.add_argument("--reference_sizes", type=int, nargs="*", default=[10_000], help="sizes the reference runs at too")
    parser.add_argument("--pair_source", help="few prompts with very many responses, for stage 2 alone")
    parser.add_argument("--embedding_source", help="texts to embed; default: the synthetic data of the smallest size")
    parser.add_argument("--embedding_prompts", type=int, help="embed the first prompts only")
    parser.add_argument("--embedding_model", default="builtin:minilm", help="hub id, folder or builtin:minilm")
    parser.add_argument("--device", default="cpu", help="where to embed")
    parser.add_argument("--processes", type=int, default=1, help="also embed on so many processes of --device")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
    parser.add_argument("--num_proc", type=int, default=2, help="processes of a stage")
    parser.add_argument("--seed", type=int, default=0, help="decides the synthetic data")
    parser.add_argument("--note", help="what to know of this run, for the page: what else the machine was doing")
    parser.add_argument("--work", type=Path, help="scratch folder (several times the source's size); default: a temporary one")
    parser.add_argument("--output", help="writes OUTPUT.json and OUTPUT.md")
    return parser


@command
def main(argv=None) -> None:
    parser = build_parser()
    args = parser.parse_args(argv)
    if "stages" in args.parts and not args.texts:
        parser.error("--texts is needed for the part 'stages'")
    settings = {name: value for name, value in vars(args).items() if name not in ("work", "output")}
    settings |= {
        name: Path(settings[name]).name for name in SOURCES if settings[name]
    }  # where they lie is the machine's affair
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    found = {"settings": settings, "machine": machine, "git_commit": git_commit(), "versions": library_versions()}
    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        work = Path(folder)
        if "stages" in args.parts:
            found["stages"] = []
            for size in args.sizes:
                found["stages"].append(of_size(args, size, work))
                found["slopes"] = slopes(found["stages"])
                save(found, args.output)
        if "pairs" in args.parts and args.pair_source:
            found["pairs"] = run_stages(args, args.pair_source, work / "pairs")["stages"]
            save(found, args.output)
        if "embedding" in args.parts and (args.embedding_source or args.texts):
            found["embedding"] = embedding(args, work)
            save(found, args.output)
    print(data_stages_report.page(found))


def save(found: dict, output: str | None) -> None:
    """Write what has been measured so far: the largest size takes most of the time, and comes before other parts."""
    if output:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        write_json(f"{output}.json", found, default=str)
        write_text(f"{output}.md", data_stages_report.page(found) + "\n")


def answer(log: Path) -> dict:
    """The line of JSON that a command printed; warnings may come before and after it."""
    return json.loads([line for line in log.read_text().splitlines() if line.startswith("{")][-1])


def of_size(args, size: int, work: Path) -> dict:
    """The stages, and where asked the reference, on one synthetic source."""
    source = work / f"{size}.jsonl"
    shape = synthetic.write(args.texts, size, args.seed, source)
    folder = work / str(size)
    result = {"shape": shape, **run_stages(args, source, folder)}
    if size in args.reference_sizes:
        result["reference"] = run_reference(args, source, work)
        result["same_responses"] = kept_digest(folder / "1") == result["reference"]["digest"]
    shutil.rmtree(folder)
    source.unlink()
    return result


def command(module: str, *arguments) -> list[str]:
    return [sys.executable, "-m", module, *map(str, arguments)]


def run_stages(args, source, folder: Path) -> dict:
    """Stages 0, 1, 2 as commands: their cost, and the counts that they recorded."""
    steps = (
        ("--source", source, "--data_path", folder / "0"),
        ("--source", folder / "0", "--data_path", folder / "1", "--model_to_use", args.tokenizer),
        ("--source", folder / "1", "--data_path_pair", folder / "2", "--data_path_filtered", folder / "u"),
    )
    folder.mkdir(parents=True)
    costs = {}
    for number, (name, step) in enumerate(zip(STAGES, steps, strict=True)):
        line = command(f"scripts_dataset_cleaner.{name}", *step, "--num_proc", args.num_proc)
        costs[str(number)] = measure.run(line, folder / f"{name}.log", TQDM_DISABLE="1")
        print(name, {key: round(value, 1) for key, value in costs[str(number)].items()}, file=sys.stderr, flush=True)
    records = {number: json.loads((folder / number / "provenance.json").read_text()) for number in ("1", "2")}
    reasons = records["1"]["responses"].values()
    return {
        "stages": costs,
        "kept": sum(counts["kept"] for counts in reasons),
        "responses": sum(sum(counts.values()) for counts in reasons),
        "pairs": sum(records["2"]["rows_out"].values()),
    }


def run_reference(args, source: Path, work: Path) -> dict:
    """The reference on the same source, in a process of its own."""
    log = work / "reference.log"
    cost = measure.run(command("benchmarks.reference", "--source", source, "--tokenizer", args.tokenizer), log)
    return {**cost, **answer(log)}


def kept_digest(folder: Path) -> str:
    """The reference's digest, of stage 1's output."""
    from datasets import load_from_disk

    def responses():
        for rows in load_from_disk(str(folder)).values():
            columns = ("filtered_comment_texts", "filtered_comment_scores", "filtered_transformed_scores")
            for row in rows.select_columns(["post_title", *columns]):
                yield from zip([row["post_title"]] * len(row[columns[0]]), *(row[name] for name in columns), strict=True)

    return reference.digest_of(responses())


def slopes(found: list[dict]) -> dict:
    """The exponent b of cost = a * responses^b, by least squares on logarithms: over all sizes, and from the last two."""
    if len(found) < 2:
        return {}
    x = np.log([one["shape"]["responses"] for one in found])
    result = {}
    for stage in ("0", "1", "2", "all"):
        stages = ("0", "1", "2") if stage == "all" else (stage,)
        for kind in ("seconds", "cpu_seconds"):
            y = np.log([sum(one["stages"][name][kind] for name in stages) for one in found])
            result.setdefault(stage, {})[kind] = {
                "all sizes": round(float(np.polyfit(x, y, 1)[0]), 3),
                "last two": round(float((y[-1] - y[-2]) / (x[-1] - x[-2])), 3),
            }
    return result


def embedding(args, work: Path) -> dict:
    """One pass over distinct texts against a loop over prompts, on the pairs of a source."""
    source = args.embedding_source
    if source is None:
        source = work / "embedding.jsonl"
        synthetic.write(args.texts, min(args.sizes), args.seed, source)
    run_stages(args, source, work / "embedding")
    options = ["--semantic_model", args.embedding_model, "--device", args.device, "--processes", args.processes]
    if args.embedding_prompts:
        options += ["--prompts", args.embedding_prompts]
    log = work / "embedding.log"
    measure.run(command("benchmarks.embedding", "--source_pair", work / "embedding" / "2", *options), log)
    return answer(log)


if __name__ == "__main__":
    main()
