"""The tables of ``benchmarks/data_stages.py``, in Markdown."""

_NAMES = {"0": "0 scoring", "1": "1 filtering", "2": "2 pairing"}


def page(found: dict) -> str:
    """All tables of what was measured."""
    settings = found["settings"]
    lines = [
        "# Data stages against size",
        "",
        f"`--num_proc {settings['num_proc']}`, seed {settings['seed']}; {found['machine']}.",
    ]
    if "stages" in found:
        lines += _stages(found["stages"]) + _slopes(found["slopes"]) + _reference(found["stages"])
    if "pairs" in found:
        lines += _pairs(settings["pair_source"], found["pairs"])
    if "embedding" in found:
        lines += _embedding(found["embedding"])
    if settings.get("note"):
        lines += ["", settings["note"]]
    return "\n".join(lines)


def _table(*header: str) -> list[str]:
    return ["| " + " | ".join(header) + " |", "| --- " * len(header) + "|"]


def _row(*cells) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _stages(sizes: list[dict]) -> list[str]:
    lines = ["", "## Stages", ""]
    lines += _table("prompts", "responses", "stage", "s", "CPU s", "responses/s", "peak RSS MiB", "of it anonymous MiB")
    for one in sizes:
        shape, costs = one["shape"], one["stages"]
        for stage, cost in costs.items():
            lines.append(_cost_row(shape, _NAMES[stage], cost["seconds"], cost["cpu_seconds"], cost["rss"], cost["anonymous"]))
        total = [sum(cost[kind] for cost in costs.values()) for kind in ("seconds", "cpu_seconds")]
        peak = [max(cost[kind] for cost in costs.values()) for kind in ("rss", "anonymous")]
        lines.append(_cost_row(shape, "**0 to 2**", *total, *peak))
    return lines


def _cost_row(shape: dict, stage: str, seconds: float, cpu: float, rss: float, anonymous: float) -> str:
    rate = f"{shape['responses'] / seconds:.0f}"
    cost = (f"{seconds:.1f}", f"{cpu:.1f}", rate, f"{rss:.0f}", f"{anonymous:.0f}")
    return _row(shape["prompts"], shape["responses"], stage, *cost)


def _slopes(slopes: dict) -> list[str]:
    if not slopes:
        return []
    lines = ["", "Exponent b of cost = a · responses^b:", ""]
    lines += _table("stage", "s, all sizes", "s, last two sizes", "CPU s, all sizes", "CPU s, last two sizes")
    for stage, kinds in slopes.items():
        cells = [kinds[kind][span] for kind in ("seconds", "cpu_seconds") for span in ("all sizes", "last two")]
        lines.append(_row(_NAMES.get(stage, "0 to 2"), *cells))
    return lines


def _reference(sizes: list[dict]) -> list[str]:
    lines = []
    for one in sizes:
        if "reference" not in one:
            continue
        other, shape = one["reference"], one["shape"]
        agree = "the same responses are kept" if one["same_responses"] else "DIFFERENT RESPONSES ARE KEPT"
        drawn = f"{one['pairs']} pairs drawn by the stages, {other['pairs']} by the reference (the draws differ)"
        lines += ["", f"## Per-row reference, {shape['prompts']} prompts", ""]
        lines += [f"One process; {agree}; {drawn}; peak RSS {other['rss']:.0f} MiB.", ""]
        lines += _table("stage", "reference s", "stage s", "ratio", "reference CPU s", "stage CPU s", "ratio, CPU")
        for stage in (*one["stages"], "all"):
            stages = one["stages"] if stage == "all" else (stage,)
            cells = []
            for kind in ("seconds", "cpu_seconds"):
                theirs, ours = (sum(costs["stages"][name][kind] for name in stages) for costs in (other, one))
                cells += [f"{theirs:.1f}", f"{ours:.1f}", f"{theirs / ours:.2f}"]
            lines.append(_row(_NAMES.get(stage, "**0 to 2**"), *cells))
        lines.append(_row("whole commands", *_whole(one)))
        lines += [
            "",
            "Above the last row the reference counts without imports and reading, the stages as commands from start to end.",
        ]
    return lines


def _whole(one: dict) -> list[str]:
    """Processes from start to end on both sides."""
    cells = []
    for kind in ("seconds", "cpu_seconds"):
        theirs, ours = one["reference"][kind], sum(costs[kind] for costs in one["stages"].values())
        cells += [f"{theirs:.1f}", f"{ours:.1f}", f"{theirs / ours:.2f}"]
    return cells


def _pairs(source: str, costs: dict) -> list[str]:
    cost = costs["2"]
    name = str(source).rpartition("/")[2]
    return ["", "## Many responses a prompt", "", f"Stage 2 on {name}: {cost['seconds']:.1f} s, {cost['rss']:.0f} MiB RSS."]


def _embedding(found: dict) -> list[str]:
    lines = ["", "## Embedding: one pass against a loop over prompts", "", *_table("figure", "value")]
    return [*lines, *(_row(name, value) for name, value in found.items())]
