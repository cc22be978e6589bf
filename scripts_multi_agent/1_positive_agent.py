r"""Stage 1: the strengths of each response, with reasons.

python -m scripts_multi_agent.1_positive_agent --source out/0_retrieval --output out/1_positive --engine openai \
    --base_url http://localhost:8000/v1 --model MODEL

A killed run goes on by the same command. Responses without a usable reply are listed in the field `failed`; later stages leave
them out, --retry_failed asks again.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_multi_agent.1_positive_agent")

from scripts_multi_agent.common import stage_command

main = stage_command("1_positive_agent", __doc__)

if __name__ == "__main__":
    main()
