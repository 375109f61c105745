"""Outputs: whether they can be written, and images.

What is written lies under a hidden name and is moved to the output's name when it is complete; on any error, an interrupt included,
nothing appears there and what was there before stays.
"""
import os
from pathlib import Path

import cv2

from animevsr.errors import MediaError
from animevsr.video.encoders import CODECS
from animevsr.video.images import IMAGE_SUFFIXES
from animevsr.video.reader import VIDEO_SUFFIXES


def check_output(path, reader, codec):
    """Whether `path` can be written: a video by its suffix, one image by its suffix, otherwise a folder of images.

    Raises:
        MediaError: it cannot, or its container cannot carry the codec.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    check_folder_of(path)
    if suffix in VIDEO_SUFFIXES:
        if path.is_dir():
            raise MediaError(f'{path}: is a folder')
        if suffix not in CODECS[codec].suffixes:
            raise MediaError(f'{path}: {suffix} does not carry {codec}; use one of {", ".join(CODECS[codec].suffixes)}')
        return
    if suffix in IMAGE_SUFFIXES:
        if reader.frame_count != 1:
            raise MediaError(f'{path}: one image cannot hold {reader.frame_count or "all"} frames; name a folder or a video')
        return
    if suffix and not path.is_dir():
        videos = ', '.join(CODECS[codec].suffixes)
        raise MediaError(f"{path}: unknown kind of output '{suffix}'; name a video ({videos}), an image or a folder")
    if path.is_dir() and any(path.iterdir()):
        raise MediaError(f'{path}: is a folder that is not empty; name a new one')


def check_folder_of(path):
    """MediaError unless something can be made at `path`."""
    if not path.parent.is_dir():
        raise MediaError(f'{path}: its folder does not exist')
    if not os.access(path.parent, os.W_OK):
        raise MediaError(f'{path}: its folder is not writable')


def check_file(path):
    """MediaError unless a file can be made at `path`."""
    check_folder_of(path)
    if path.is_dir():
        raise MediaError(f'{path}: is a folder')


def write_text(path, text):
    """Write a text file; a file of that name is complete, or what was there before."""
    partial = path.with_name(f'.{path.name}')
    try:
        partial.write_text(text, encoding='utf8')
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_image(path, image):
    """Write (h, w, 3) uint8 RGB; a file of that name is complete or not there.

    Raises:
        MediaError: it cannot be written.
    """
    partial = path.with_name(f'.{path.name}')
    try:
        written = cv2.imwrite(str(partial), image[..., ::-1])
    except cv2.error:
        written = False
    if not written:
        raise MediaError(f'{path}: could not be written')
    os.replace(partial, path)
