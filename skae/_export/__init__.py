"""ONNX, NumPy programs and safetensors files."""
