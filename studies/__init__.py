"""What this repository does with the library: each study has data, measures, a plan of stages and a report. In no wheel."""
