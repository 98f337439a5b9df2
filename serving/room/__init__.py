"""The reading room: pages for radiologists, made on the server."""
