"""What people run: demo, tests, benchmarks."""
