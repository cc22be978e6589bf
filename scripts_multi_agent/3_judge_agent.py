r"""Stage 3: a verdict on each response, 1 good or 0 bad, in sight of its strengths and weaknesses.

python -m scripts_multi_agent.3_judge_agent --source out/2_negative --output out/3_judge --engine openai \
    --base_url http://localhost:8000/v1 --model MODEL

A killed run goes on by the same command. Responses without a usable reply are listed in the field `failed`; later stages leave
them out, --retry_failed asks again. --no_debate is for comparison: the judge sees neither strengths nor weaknesses.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_multi_agent.3_judge_agent")

from scripts_multi_agent.common import stage_command

main = stage_command("3_judge_agent", __doc__)

if __name__ == "__main__":
    main()
