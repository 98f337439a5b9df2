"""The worklist: Unified Procedure Steps (PS3.4 annex CC), our own analyses among them."""
