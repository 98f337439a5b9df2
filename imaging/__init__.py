"""What a study is: headers, geometry, volumes, findings and the DICOM objects that carry them."""
