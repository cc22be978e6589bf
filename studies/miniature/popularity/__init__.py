"""What weights gain and cost where votes favour the common more or less: the report of `reproduce.sh --popularity`."""
