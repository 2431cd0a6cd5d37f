"""A network of a run for other devices: as ONNX, in whole numbers of 8 bits, and as a kit that is measured there."""
