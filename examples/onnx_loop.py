"""The exported network without this package: NumPy and ONNX Runtime (OpenCV reads and writes images).

animevsr export -n animevsr_x4 -o step.onnx
python examples/onnx_loop.py step.onnx FRAME.png ... -o OUT_FOLDER
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime


def upscale(frames, net):
    """Images (h, w, 3) uint8, h and w multiples of 4, of one shot -> images four times as large."""
    about = net.get_modelmeta().custom_metadata_map  # scale, multiple, padding, range, state_channels
    inputs = [frame.transpose(2, 0, 1)[None].astype(np.float32) / 255 for frame in frames]
    state = [
        np.zeros((1, int(c), *inputs[0].shape[2:]), np.float32) for c in about['state_channels'].split(',')
    ]
    for i, cur in enumerate(inputs):
        feed = dict(prev=inputs[max(i - 1, 0)], cur=cur, next=inputs[min(i + 1, len(inputs) - 1)])
        feed.update({f'state{j}': value for j, value in enumerate(state)})
        sr, *state = net.run(None, feed)
        yield (sr[0].clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)


if __name__ == '__main__':
    model, *files, _, folder = sys.argv[1:]
    images = [cv2.cvtColor(cv2.imread(file), cv2.COLOR_BGR2RGB) for file in files]
    images = [image[: image.shape[0] // 4 * 4, : image.shape[1] // 4 * 4] for image in images]
    Path(folder).mkdir(exist_ok=True)
    for file, result in zip(files, upscale(images, onnxruntime.InferenceSession(model))):
        cv2.imwrite(f'{folder}/{Path(file).stem}.png', result[..., ::-1])
