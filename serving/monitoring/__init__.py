"""What models read and say over time, and where that drifts."""
