"""Add compression ratio, homogenization score and n-gram diversity to scored runs, per prompt.

python -m scripts_eval.generation_eval1_2 --val_path results --val_files ddpo-both dpo
python -m scripts_eval.generation_eval1_2 --val_path published --val_files a.csv b.csv --metrics_variant released

A run folder gets the columns in prompts.csv and metrics.json; beside a CSV file stands NAME.auxiliary.csv.
"""

from pathlib import Path

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.errors import UserError


@command
def main(argv=None) -> None:
    parser = Parser("scripts_eval.generation_eval1_2", __doc__)
    parser.add_argument("--val_path", default=".", help="folder that the files lie in")
    parser.add_argument("--val_files", nargs="+", required=True, help="CSV files or run folders in it")
    parser.add_argument(
        "--metrics_variant",
        choices=["whole", "rouge", "released"],
        default="whole",
        help="homogenization and n-grams as defined, with rouge-score's words (a to z and digits), or as released",
    )
    args = parse_with_recipe(parser, argv, extra="evaluation")
    paths = [Path(args.val_path) / name for name in args.val_files]
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file or run folder")
    from diversity_tuning.evaluation.scoring.auxiliary import add_to_file, add_to_run

    for path in paths:
        add = add_to_run if path.is_dir() else add_to_file
        add(path, args.metrics_variant)
