"""Training images of heads, synthesised from public label maps; nothing of a patient is needed."""
