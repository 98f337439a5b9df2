"""Joins imaging, models and the DICOM node: settings, pipeline, workers, web and command line."""
