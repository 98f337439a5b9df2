"""People and systems that may ask: who they are, and what they may."""
