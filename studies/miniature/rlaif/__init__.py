"""What --rlaif of the miniature is reported by: measures of hacking and relevance, tables and figures (docs/RLAIF.md)."""
