"""The recurrent network over a stream of frames."""
import cv2
import numpy as np
import torch

WINDOW, OVERLAP = 24, 4  # frames that a network which looks both ways is given at once, and how many of them only as context


class Upscaler:
    """Runs a network over frames one by one; memory does not grow with their number.

    Args:
        net: a network with `step(prev, cur, nxt, state) -> (sr, state)` and `scale`, in eval mode; or one over whole
            clips, which is given windows that overlap.
        device (torch.device): where it runs.
        half (bool): compute in float16 (not on a CPU, where it is slower).
    """

    def __init__(self, net, device, half=False):
        self.device, self.dtype = device, torch.float16 if half else torch.float32
        # faster convolutions on CPUs and on tensor cores
        self.net = net.to(device, self.dtype, memory_format=torch.channels_last)

    def __call__(self, frames):
        """Iterable of (h, w, 3) uint8 RGB -> iterator of (scale*h, scale*w, 3) uint8 RGB: one for each, in order, one shot."""
        if not hasattr(self.net, 'step'):
            yield from self._windows(frames)
            return
        state, prev, cur = None, None, None
        for frame in frames:
            nxt = self._tensor(frame)
            if cur is not None:
                sr, state = self._step(cur if prev is None else prev, cur, nxt, state)
                yield sr
                prev = cur
            cur = nxt
        if cur is not None:
            yield self._step(cur if prev is None else prev, cur, cur, state)[0]

    @torch.inference_mode()
    def _step(self, prev, cur, nxt, state):
        sr, state = self.net.step(prev, cur, nxt, state)
        return self._image(sr), state

    def _windows(self, frames):
        """For networks over clips: windows of frames, of which those near an inner border are only context."""
        waiting, context = [], 0
        for frame in frames:
            waiting.append(self._tensor(frame))
            if len(waiting) == WINDOW:
                yield from self._window(waiting, context, WINDOW - OVERLAP)
                waiting, context = waiting[-2 * OVERLAP:], OVERLAP
        if len(waiting) > context:
            yield from self._window(waiting, context, len(waiting))

    @torch.inference_mode()
    def _window(self, frames, start, stop):
        """Results of the frames from `start` to `stop` of a window."""
        for sr in self.net(torch.stack(frames, 1))[0, start:stop]:
            yield self._image(sr[None])

    @staticmethod
    def _image(sr):
        """(1, 3, h, w) in [0, 1] -> (h, w, 3) uint8."""
        image = (sr[0].float().clamp(0, 1) * 255).round().to(torch.uint8)
        return image.permute(1, 2, 0).contiguous().cpu().numpy()

    def _tensor(self, frame):
        tensor = torch.from_numpy(np.ascontiguousarray(frame)).to(self.device).permute(2, 0, 1).unsqueeze(0)
        return (tensor.to(self.dtype) / 255).contiguous(memory_format=torch.channels_last)


def output_size(height, width, outscale, even):
    """(height, width) of the output; rounded up to even numbers where the pixel format needs them."""
    sizes = (max(1, round(size * outscale)) for size in (height, width))
    return tuple(size + size % 2 if even else size for size in sizes)


def fit(image, size):
    """`image` resized to (height, width) where it has another size; area averaging, because it is only ever made smaller."""
    return image if image.shape[:2] == tuple(size) else cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)
