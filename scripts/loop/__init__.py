"""The parts of `scripts/loop_demo.py`: made-up patients, a simulated reader, a running service."""
