"""What runs a trained model: ONNX Runtime, or PyTorch for GPUs and for the search before coding."""
