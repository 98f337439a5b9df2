"""The commands that are not processes, one file each."""
