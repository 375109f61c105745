"""The interface of all readers of frames."""

from abc import ABC, abstractmethod


class FrameReader(ABC):
    """An input of frames in order of presentation, one at a time; a context manager. It is read once.

    Attributes:
        width, height (int), fps (Fraction), color (Color), depth (int): bits of a sample.
        frame_count (int | None): None where the container does not say. expected_frames (int | None): an
            estimate where it does not.
        time_base (Fraction): what times are multiples of.
        transparent (bool), damage (list): [(seconds, what)], known when all frames have been read.
        is_video (bool): a file with a container, and in it perhaps other tracks; the attributes below are a
            video's.
        has_sound, interlaced (bool), stream_index (int): of the video in its file.
        format (PyAV's, or None), sample_aspect_ratio (Fraction | None).
        side_data (dict): {type: bytes} of the first frame.
    """

    is_video = has_sound = interlaced = False
    stream_index = 0
    format = sample_aspect_ratio = None
    side_data = {}

    @abstractmethod
    def timed(self):
        """(frame as the source gives it, time in seconds as a Fraction, or None where there is none) of each
        frame.
        """

    @abstractmethod
    def image(self, frame):
        """(h, w, 3) uint8 or uint16 RGB of a frame that `timed` gave."""

    def small(self, frame, side):
        """RGB of a frame, no more than about `side` pixels each way where that is cheaper; for looking, not
        for keeping.
        """
        return self.image(frame)

    def frames(self):
        """(image, time) of each frame."""
        for frame, time in self.timed():
            yield self.image(frame), time

    def close(self):  # noqa: B027  (images keep nothing open)
        """Close what is open."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
