"""From a checkpoint to what inference engines read: ONNX written by hand (`onnx_file`).

Nothing is imported here, so that the part that runs on a Jetson needs neither torch nor onnx.
"""
