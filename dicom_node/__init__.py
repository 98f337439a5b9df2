"""The DICOM application entity and its memory: archive, index, arrival, routing, delivery."""
