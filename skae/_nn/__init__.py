"""Network modules: layers, encoders and decoders, the fitted autoencoder, its pickling."""
