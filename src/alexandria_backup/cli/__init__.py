"""The command line: one file per command, and the renderers of what the rooms below tell."""
