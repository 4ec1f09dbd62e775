"""TensorRT plans on disk: what was built, for which machine, and where plans that were built on first use are kept.

Nothing here imports TensorRT or touches a GPU: facts of the GPU come in as values, and building is a callable.
"""
