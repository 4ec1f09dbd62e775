"""From a checkpoint to what inference engines read: ONNX written by hand (`onnx_file`), TensorRT plans (`engine`).

Nothing is imported here, so that the part that runs on a Jetson needs neither torch nor onnx.
"""
