"""Sample responses of several adapters of one base model from one vLLM server, each into its own run folder."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.sample_adapters")

from diversity_tuning.commands.adapters import main

if __name__ == "__main__":
    main()
