"""Names of devices that options may give; `engine.backends` opens them."""

# devices that PyTorch does not know: the runtime, and what it calls them
RUNTIME_DEVICES = {
    'tensorrt': 'onnxruntime:TensorrtExecutionProvider',
    'directml': 'onnxruntime:DmlExecutionProvider',
    'coreml': 'onnxruntime:CoreMLExecutionProvider',
    'onnx-cuda': 'onnxruntime:CUDAExecutionProvider',
    'openvino-gpu': 'openvino:GPU',
}
