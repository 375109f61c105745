"""Frames into a video file, by the ffmpeg that imageio-ffmpeg brings."""

import subprocess
import tempfile

import cv2
import imageio_ffmpeg


def encode(frames, path, rate, options):
    """Write frames, (h, w, 3) uint8 RGB, at `rate` a second; `options`: ffmpeg's, as they would be typed."""
    with tempfile.TemporaryDirectory() as folder:
        for i, frame in enumerate(frames):
            cv2.imwrite(f'{folder}/{i:04d}.png', frame[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
        source = ['-framerate', str(rate), '-i', f'{folder}/%04d.png']
        command = [imageio_ffmpeg.get_ffmpeg_exe(), '-v', 'error', '-y', *source, *options.split(), str(path)]
        subprocess.run(command, check=True)
