"""Names of what can compute a network; `engine.backends` has them."""

NAMES = ('auto', 'torch', 'ncnn', 'openvino', 'onnxruntime')
# devices that PyTorch does not know: the runtime, and what it calls them
RUNTIME_DEVICES = {
    'tensorrt': 'onnxruntime:TensorrtExecutionProvider',
    'directml': 'onnxruntime:DmlExecutionProvider',
    'coreml': 'onnxruntime:CoreMLExecutionProvider',
    'onnx-cuda': 'onnxruntime:CUDAExecutionProvider',
    'openvino-gpu': 'openvino:GPU',
}
