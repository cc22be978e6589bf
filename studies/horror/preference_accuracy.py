r"""Held-out preference accuracy of policies: how often the preferred story of a test pair is the likelier one.

    python -m studies.horror.preference_accuracy --base_model runs/horror/seed0/base \
        --reference runs/horror/seed0/generation --policy base= --policy dpo-hard=runs/horror/seed0/dpo-hard \
        --pairs easy=runs/horror/seed0/data/easy --pairs hard=runs/horror/seed0/data/hard \
        --output runs/horror/seed0/accuracy/hard.json
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.horror.preference_accuracy")

import argparse
import json
from pathlib import Path

import numpy as np

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.data import schema
from diversity_tuning.errors import UserError
from diversity_tuning.runs import fingerprint, write_json
from studies.horror.boundary import MAX_LENGTH, Encoded, encode_example


def build_parser() -> argparse.ArgumentParser:
    parser = Parser("studies.horror.preference_accuracy", __doc__)
    parser.add_argument("--base_model", required=True)
    parser.add_argument(
        "--policy", action="append", required=True, metavar="NAME=ADAPTER", help="may be repeated; no adapter: the base model"
    )
    parser.add_argument(
        "--reference", default=None, help="adapter that rewards are relative to; none: accuracy of likelihood only"
    )
    parser.add_argument(
        "--pairs", action="append", required=True, metavar="NAME=FOLDER", help="data set of pairs; may be repeated"
    )
    parser.add_argument("--split", default=schema.TEST)
    parser.add_argument("--max_length", type=at_least(2), default=MAX_LENGTH)
    parser.add_argument("--batch_size", type=at_least(1), default=25)
    parser.add_argument("--device", default=None)
    parser.add_argument("--dtype", default=None, help="precision of the weights; default: as saved")
    parser.add_output("JSON file")
    return parser


@command
def main(argv=None) -> None:
    args = parse_with_recipe(build_parser(), argv)
    pairs = dict(_name_and_folder(one, "--pairs") for one in args.pairs)
    policies = dict(_name_and_folder(one, "--policy") for one in args.policy)
    if not all(pairs.values()):
        raise UserError("--pairs: give NAME=FOLDER")
    inputs = {"base_model": args.base_model, "reference": args.reference, **pairs, **policies}
    record = {name: fingerprint(path) for name, path in inputs.items() if path} | {"split": args.split}
    if args.dtype:  # records of the weights as saved stay what they are
        record["dtype"] = args.dtype
    output = Path(args.output)
    if output.is_file() and not args.overwrite and json.loads(output.read_text(encoding="utf-8")).get("inputs") == record:
        print(f"{output}: already made with these settings, skipped", flush=True)
        return
    from diversity_tuning.data.tables import read_split

    rows = {name: read_split(folder, args.split, (schema.CHOSEN, schema.REJECTED)) for name, folder in pairs.items()}
    reference = policy_margins(args, args.reference, rows) if args.reference else None
    found = {}
    for name, adapter in policies.items():
        same = adapter and args.reference and Path(adapter).resolve() == Path(args.reference).resolve()
        margins = reference if same else policy_margins(args, adapter or None, rows)
        found[name] = {level: _accuracies(margins[level], reference, level, data, bool(same)) for level, data in rows.items()}
        print(name, {level: one["likelihood"]["rate"] for level, one in found[name].items()}, flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(output, {"inputs": record, "models": found})


def _accuracies(margins: np.ndarray, reference: dict | None, level: str, rows, is_reference: bool) -> dict:
    """By likelihood, and by the implicit reward of DPO (likelihood relative to the reference's) where there is one."""
    found = {"pairs": len(rows), "likelihood": accuracy(margins, rows)}
    if reference is not None and not is_reference:
        found["reward"] = accuracy(margins - reference[level], rows)
    return found


def _name_and_folder(text: str, flag: str) -> tuple[str, str]:
    name, found, folder = text.partition("=")
    if not found or not name:
        raise UserError(f"{flag} {text}: give NAME=FOLDER")
    return name, folder


def policy_margins(args: argparse.Namespace, adapter: str | None, rows: dict) -> dict[str, np.ndarray]:
    """Per data set log π(chosen) − log π(rejected), summed over story tokens, in nats: ``(pairs,)``."""
    from diversity_tuning.policy import load_policy

    model, tokenizer = load_policy(args.base_model, adapter, args.device, args.dtype)
    found = {}
    for name, data in rows.items():
        sides = [
            log_probs(model, tokenizer, [_encode(tokenizer, row[side], args.max_length) for row in data], args.batch_size)
            for side in (schema.CHOSEN, schema.REJECTED)
        ]
        found[name] = sides[0] - sides[1]
    return found


def _encode(tokenizer, messages: list[dict], max_length: int) -> Encoded:
    return encode_example(tokenizer, messages[0]["content"], messages[-1]["content"], max_length)


def log_probs(model, tokenizer, examples: list[Encoded], batch_size: int) -> np.ndarray:
    """Log-probability of every story (EOS included, where there is one), in nats: ``(examples,)``."""
    import torch

    values = np.zeros(len(examples))
    order = sorted(range(len(examples)), key=lambda i: -len(examples[i].ids))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        width = len(examples[rows[0]].ids)
        ids = torch.full((len(rows), width), tokenizer.pad_token_id)
        mask, story = torch.zeros_like(ids), torch.zeros_like(ids)
        for i, row in enumerate(rows):
            one = examples[row]
            ids[i, : len(one.ids)] = torch.tensor(one.ids)
            mask[i, : len(one.ids)] = 1
            story[i, one.boundary : len(one.ids)] = 1
        with torch.inference_mode():
            logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits[:, :-1].float()
            scores = logits.log_softmax(-1).gather(-1, ids[:, 1:, None].to(model.device)).squeeze(-1).cpu()
        values[rows] = (scores * story[:, 1:]).sum(-1).numpy()
    return values


def accuracy(margins: np.ndarray, rows) -> dict:
    """``rate``, ``low``, ``high`` (bootstrap over prompts) of margins above 0, and the rate per fault where rows name one."""
    from diversity_tuning.evaluation.statistics import mean_interval

    right = margins > 0
    prompts: dict[str, list[bool]] = {}
    faults: dict[str, list[bool]] = {}
    for row, one in zip(rows, right, strict=True):
        prompts.setdefault(row[schema.CHOSEN][0]["content"], []).append(bool(one))
        faults.setdefault(row.get("fault", "any"), []).append(bool(one))
    interval = mean_interval(np.array([np.mean(found) for found in prompts.values()]))
    return {
        "rate": float(right.mean()),
        "low": interval["low"],
        "high": interval["high"],
        "by_fault": {name: {"rate": float(np.mean(found)), "n": len(found)} for name, found in sorted(faults.items())},
    }


if __name__ == "__main__":
    main()
