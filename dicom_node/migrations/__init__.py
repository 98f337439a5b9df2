"""Schema migrations, run by `dicom_node.schema.upgrade`."""
