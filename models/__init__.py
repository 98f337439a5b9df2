"""What the AI is: model packages, runtimes, preprocessing, inference and interpretation."""
