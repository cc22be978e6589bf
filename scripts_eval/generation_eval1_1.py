"""Sample responses to test prompts, then score them: reward, semantic diversity, style diversity (paper, section 4.1)."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.generation_eval1_1")

from diversity_tuning.commands.evaluate import main

if __name__ == "__main__":
    main()
