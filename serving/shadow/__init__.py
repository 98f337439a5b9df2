"""Candidates that run beside the served version, unseen, and what comes of the comparison."""
