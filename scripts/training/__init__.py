"""Training: what is learnt from, the network, the loop, and what is kept of it."""
