"""A thin layer over the CUDA driver: the few calls that a stream of batches needs, on pycuda or on cuda-bindings.

Handles are integers, whatever library gave them; owners (`Device`, `Stream`, `Event`, `DeviceBuffer`, `PinnedBuffer`,
`Graph`) are context managers. Nothing is imported from either library, and no GPU is touched, until `open_device`.
"""
