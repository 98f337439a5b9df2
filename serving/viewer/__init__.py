"""The full viewer OHIF under /viewer/: installed once, then served without network."""
