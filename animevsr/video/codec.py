"""Compression of a clip and back, in memory: what the FFmpeg operator of the papers does (AnimeSR supplement,
Sec. 3).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np

from animevsr.errors import CodecError
from animevsr.video.color import reformat

# name in options -> (encoder, decoder)
ROUND_TRIPS = {'h264': ('libx264', 'h264')}
FPS = 25
BICUBIC = 0x4  # the scaler of the ffmpeg command, for the same chroma samples
AVX2 = 11  # CV_CPU_AVX2 of OpenCV, whose Python module does not name it
# x264's AVX-512 code of the macroblock tree (mbtree_propagate_list) works on eight blocks at a time. Where a
# row of blocks of 16 pixels is not a multiple of eight of them, it reads memory that was never written, so
# that the same frames gave other bits: at 14 of 18 widths between 96 and 640 (MALLOC_PERTURB_ shows it). Its
# AVX2 code does not, and gives the same bits elsewhere. The tree itself must stay: without it x264 spends up
# to 2.6 times the bits at the same crf.
REPEATABLE = {'x264-params': 'asm=avx2'} if cv2.checkHardwareSupport(AVX2) else {}


def roundtrip(frames: np.ndarray, codec: str = 'h264', **options: Any) -> np.ndarray:
    """Encode and decode a clip.

    Args:
        frames (ndarray): (t, h, w, 3), uint8 RGB; any size of at least 1x1 and any t >= 1.
        codec (str): a key of `ROUND_TRIPS`.
        **options: passed to the encoder, e.g. `crf=23, profile='high'`, or `b=50000`, bits a second at 25
            frames.

    Returns:
        ndarray: (t, h, w, 3), uint8 RGB, the same frames in the same order, compressed as yuv420p. The same
            frames and options give the same pixels on one machine; bits and picture are those of `ffmpeg -c:v
            libx264` with the same options.

    Raises:
        CodecError: the encoder refused, or not exactly t frames of this size came back in order.
    """
    if codec not in ROUND_TRIPS:
        raise ValueError(f"unknown codec '{codec}'; known: {', '.join(ROUND_TRIPS)}")
    t, h, w, _ = frames.shape
    padded = np.pad(frames, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)), mode='edge')  # yuv420p needs even sizes
    try:
        decoded = _decode(_encode(padded, codec, options), codec)
    except av.FFmpegError as error:
        raise CodecError(f'{codec} round trip of {t} frames of {w}x{h} failed: {error}') from error
    times = [frame.pts for frame in decoded]
    if times != list(range(t)):
        raise CodecError(
            f'{codec} round trip of {t} frames of {w}x{h} gave back {len(times)} frames (at {times[:8]}...)'
        )
    out = np.stack(
        [reformat(frame, format='rgb24', interpolation=BICUBIC).to_ndarray() for frame in decoded]
    )[:, :h, :w]
    if out.shape != frames.shape:
        raise CodecError(f'{codec} round trip gave back frames of shape {out.shape}, expected {frames.shape}')
    return out


def _encode(frames, codec, options):
    """Packets of the encoded clip."""
    encoder = av.CodecContext.create(ROUND_TRIPS[codec][0], 'w')
    encoder.height, encoder.width = frames.shape[1:3]
    encoder.pix_fmt = 'yuv420p'
    encoder.time_base = Fraction(1, FPS)
    encoder.framerate = Fraction(FPS)
    # the caller's own processes or threads are the parallelism; one thread gives one result
    encoder.thread_count = 1
    encoder.options = {**REPEATABLE, **{key: str(value) for key, value in options.items()}}
    packets = []
    for pts, image in enumerate(frames):
        frame = reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format='rgb24'),
            format='yuv420p',
            interpolation=BICUBIC,
        )
        frame.pts = pts
        frame.time_base = encoder.time_base
        packets += encoder.encode(frame)
    return packets + encoder.encode(None)


def _decode(packets, codec):
    """Frames of the packets, in order of presentation."""
    decoder = av.CodecContext.create(ROUND_TRIPS[codec][1], 'r')
    decoder.thread_count = 1
    frames = []
    for packet in packets:
        copy = av.Packet(bytes(packet))
        copy.pts = packet.pts
        copy.dts = packet.dts
        copy.time_base = packet.time_base
        frames += decoder.decode(copy)
    return frames + decoder.decode(None)
