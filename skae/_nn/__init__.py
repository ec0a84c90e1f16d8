"""Network modules: layers, encoders and decoders, autoencoders, pickling."""
