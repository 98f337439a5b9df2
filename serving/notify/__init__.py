"""Messages to other systems about what became of a study."""
