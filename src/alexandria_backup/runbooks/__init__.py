"""The procedures: one per file, each a list of steps that can be planned, resumed and undone."""
