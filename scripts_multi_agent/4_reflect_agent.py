r"""Stage 4: the final verdict on each response, in sight of the judge's; and a report on all stages.

python -m scripts_multi_agent.4_reflect_agent --source out/3_judge --output out/4_reflect --engine openai \
    --base_url http://localhost:8000/v1 --model MODEL --label_column label

Writes summary.json, summary.md and verdicts.png beside the rows: what was overturned, calls, tokens and cost of every stage
(with --price_input and --price_output) and, with labels, accuracy, F1 and kappa of judge and reflect with 95% intervals.
A killed run goes on by the same command. Responses without a usable reply are listed in the field `failed`.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_multi_agent.4_reflect_agent")

from scripts_multi_agent.common import stage_command

main = stage_command("4_reflect_agent", __doc__)

if __name__ == "__main__":
    main()
