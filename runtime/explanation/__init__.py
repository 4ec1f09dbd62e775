"""Why the network decides as it does: maps of what it looked at, for images of any size, as pictures and as numbers.

An `Explainer` gives maps for tiles; they are joined without seams, coloured by one scale an image, and written. The one
that reads cross attention from an ONNX is here; Grad-CAM needs gradients and is in `calanddet.model.explanation`.
"""
