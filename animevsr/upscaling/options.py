"""What `upscale` may be asked for: one record of all options, their ranges, and what they mean for one input.

A new option is a field here, the place that reads it, and one flag of the command line
(`animevsr_cli/upscale_commands.py`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animevsr.engine.runtimes import find_runtime, is_runtime, is_vulkan
from animevsr.engine.sizes import output_size
from animevsr.utils.options import check_part
from animevsr.utils.rates import parse_rate
from animevsr.utils.records import as_python, check_types
from animevsr.video.container import VIDEO_SUFFIXES
from animevsr.video.encoders import CODECS, Encoding, check_output, choose_encoding
from animevsr.video.images import IMAGE_SUFFIXES
from animevsr.video.selection import Crop, Part
from animevsr.zoo import keeps_grain

if TYPE_CHECKING:
    from animevsr.video.frame_reader import MediaInfo


DEFAULT_WEIGHTS = 'animevsr_x4'


@dataclass(frozen=True)
class SelectionOptions:
    """What of the input is upscaled, and how its pictures are read.

    Attributes:
        start, end (str | None): the part between them alone, `end` left out: '83.5', '1:23.5', or '1200f' for
            frame 1200; with sound and subtitles cut to it.
        crop (str | None): 'auto' leaves out black bars, 'TOP:BOTTOM:LEFT:RIGHT' so many pixels of the input.
        deinterlace (str): 'auto' brings telecined film back to its frames where most of a video is telecined,
            and otherwise deinterlaces what is marked as interlaced; 'ivtc' and 'bwdif' do either without
            asking; 'off' does nothing.
    """

    start: str | None = None
    end: str | None = None
    crop: str | None = None
    deinterlace: str = 'auto'

    def validate(self) -> None:
        """ValueError that names the first option that is out of range."""
        self.part()
        if self.crop != 'auto':
            self.crop_sides()
        check_one_of('deinterlace', self.deinterlace, ('auto', 'bwdif', 'ivtc', 'off'))

    def part(self) -> Part | None:
        return Part.parse(self.start, self.end)

    def crop_sides(self) -> Crop | None:
        """None where nothing is left out; 'auto' must have been replaced by then."""
        crop = None if self.crop is None else Crop.parse(self.crop)
        return crop if crop != Crop() else None


@dataclass(frozen=True)
class EncodeOptions:
    """How a video is encoded.

    Attributes:
        codec (str): 'h264', 'h265', 'av1', 'prores', or 'ffv1', which is lossless.
        crf (float | None): quality of h264 and h265 (0 to 51) and av1 (0 to 63); lower is better. Default:
            18, 20, 24.
        depth (int | None), chroma (str | None): 8 or 10 bits; '420', '422' or '444'. Default: those of the
            input.
        hardware (bool): take an encoder of the graphics hardware where there is one.
        preset, tune (str | None): of the encoder, e.g. 'slow', 'animation'.
        encoder_options (tuple[str]): more of them, each 'KEY=VALUE', as FFmpeg names them.
        audio (str): 'copy', or 'none' to leave sound out.
    """

    codec: str = 'h264'
    crf: float | None = None
    depth: int | None = None
    chroma: str | None = None
    hardware: bool = False
    preset: str | None = None
    tune: str | None = None
    encoder_options: tuple = ()
    audio: str = field(default='copy', metadata=dict(pixels=False))

    def validate(self) -> None:
        """ValueError that names the first option that is out of range."""
        if self.codec not in CODECS:
            raise ValueError(f"codec '{self.codec}' is not known; known: {', '.join(CODECS)}")
        highest = CODECS[self.codec].highest or 51
        if self.crf is not None and not 0 <= self.crf <= highest:
            raise ValueError(f'crf must be between 0 and {highest}, got {self.crf}')
        check_one_of('depth', self.depth, (None, 8, 10))
        check_one_of('chroma', self.chroma, (None, '420', '422', '444'))
        check_one_of('audio', self.audio, ('copy', 'none'))
        for option in self.encoder_options:
            if '=' not in option.strip('='):
                raise ValueError(f"encoder_options '{option}' must be KEY=VALUE")

    def extra_options(self) -> dict[str, str]:
        """What goes to the encoder beside the usual."""
        named = dict(preset=self.preset, tune=self.tune)
        return {
            **{name: value for name, value in named.items() if value is not None},
            **dict(option.split('=', 1) for option in self.encoder_options),
        }


@dataclass(frozen=True)
class ComputeOptions:
    """What computes the network, and how.

    Attributes:
        device (str): 'auto', 'cpu', a name that torch knows, or one of `RUNTIME_DEVICES`.
        backend (str), fast, half, bf16, compiled (bool): see `engine.backends.open_backend`.
        reuse (bool): compute again only what changes from frame to frame; see `DirtyRegions`.
        tile (int | str | None): side of the squares that are computed one after the other; 'auto': whole
            frames where memory allows.
        threads (int | None): CPU threads of each process. Default: the cores, divided by `jobs` where that
            does not change results.
    """

    device: str = 'auto'
    backend: str = 'auto'
    fast: bool = False
    half: bool = False
    bf16: bool = False
    compiled: bool = False
    reuse: bool = False
    tile: int | str | None = 'auto'
    threads: int | None = None

    def validate(self) -> None:
        """ValueError that names the first option that is out of range."""
        if self.tile not in ('auto', None) and not (isinstance(self.tile, int) and self.tile >= 64):
            raise ValueError(f"tile must be 'auto' or at least 64, got {self.tile}")
        check_at_least_one('threads', self.threads)
        if self.half and self.bf16:
            raise ValueError('half and bf16 are two formats; give one of them')

    @property
    def may_use_gpu(self) -> bool:
        return self.device != 'cpu' or is_runtime(self.backend)

    def on_runtime(self) -> ComputeOptions:
        """With the backend of a device that PyTorch does not know; ValueError where another one is named."""
        backend = find_runtime(self.device)
        if backend is None:
            of_cpu = self.backend not in ('auto', 'torch') and self.device == 'auto'
            return replace(self, device='cpu') if of_cpu else self
        runtime = backend.partition(':')[0]
        if self.backend not in ('auto', runtime):
            raise ValueError(f'device {self.device} belongs to the backend {runtime}, not to {self.backend}')
        changed = dict(half=self.half or self.fast, fast=False) if is_vulkan(backend) else {}
        return replace(self, device='cpu', backend=backend, **changed)


@dataclass(frozen=True)
class UpscaleOptions:
    """All options of one call. Frozen: it is what every worker is sent.

    Attributes:
        weights (str): a weights file, or a name (`animevsr models`).
        outscale (float | None): size of the output over that of the input, above 0 and up to the network's
            scale (its default).
        height, width (int | None): of the output instead, in pixels; the other side follows.
        fit (str | None): 'WIDTHxHEIGHT': as large as fits into it.
        fps (Fraction | None): frame rate for a folder of frames (default 24); a video is retimed, without its
            other tracks.
        square_pixels (bool): stretch the width of a video whose pixels are not square.
        strength (float | None): from 0, a twin of the model that keeps grain and texture, to 1, the model
            itself (the default); see `archs.loading.load_mixed`.
        steady (bool | None): average the results of held drawings; see `HeldAverage`. Default: unless grain
            is to be kept, by a `strength` below 1 or a model that is made for that.
        grain (float): film grain that is put onto the result: its standard deviation in levels of 255.
        cuts (bool): look for cuts; else the whole video is one shot.
        selection (SelectionOptions), encode (EncodeOptions), compute (ComputeOptions)
        jobs (int): processes side by side, each on shots of its own.
        cluster (str | None): 'auto' or the address of a Ray cluster, on whose nodes the shots are computed.
        part (tuple[int, int] | None): (I, N): do the I-th of N shares of the shots; the call that does the
            last one joins them.
    """

    weights: str = DEFAULT_WEIGHTS
    outscale: float | None = None
    height: int | None = None
    width: int | None = None
    fit: str | None = None
    fps: Fraction | None = None
    square_pixels: bool = False
    strength: float | None = None
    steady: bool | None = None
    grain: float = 0
    cuts: bool = True
    selection: SelectionOptions = field(default_factory=SelectionOptions)
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    compute: ComputeOptions = field(default_factory=ComputeOptions)
    jobs: int = field(default=1, metadata=dict(pixels=False))
    cluster: str | None = field(default=None, metadata=dict(pixels=False))
    part: tuple | None = field(default=None, metadata=dict(pixels=False))

    @classmethod
    def of(cls, **keywords: Any) -> UpscaleOptions:
        """Options of keywords, as `upscale` takes them: those of the groups stand beside the others.

        Raises:
            ValueError: one is out of range. TypeError: one is unknown.
        """
        groups = GROUPS
        # TOML has times of its own (start = 00:01:23), and 420 or a preset of AV1 is a number there
        for name in ('device', 'start', 'end', 'crop', 'chroma', 'preset', 'tune'):
            if keywords.get(name) is not None:
                keywords[name] = str(keywords[name])
        given = keywords.get('encoder_options', ())
        keywords['encoder_options'] = (given,) if isinstance(given, str) else tuple(given or ())
        parts = {
            name: kind(**{f.name: keywords.pop(f.name) for f in fields(kind) if f.name in keywords})
            for name, kind in groups.items()
        }
        unknown = sorted(set(keywords) - {f.name for f in fields(cls)} | set(keywords) & set(groups))
        if unknown:
            raise TypeError(f'upscale() got an unexpected keyword argument {unknown[0]!r}')
        if isinstance(keywords.get('part'), list):
            keywords['part'] = tuple(keywords['part'])
        if keywords.get('fps') is not None:
            keywords['fps'] = parse_rate(keywords['fps'])
        weights = str(keywords.get('weights', DEFAULT_WEIGHTS))
        # workers may be in other folders
        keywords['weights'] = os.path.abspath(weights) if os.path.isfile(weights) else weights
        parts['compute'] = parts['compute'].on_runtime()
        options = cls(**{**keywords, **parts})
        options.validate()
        plain = {name: as_python(getattr(options, name)) for name in groups}
        return replace(as_python(options), **plain)

    def validate(self) -> None:
        """ValueError that names the first option that is out of range."""
        for part in (self, *(getattr(self, name) for name in GROUPS)):
            check_types(part)
        for name in GROUPS:
            getattr(self, name).validate()
        if self.strength is not None and not 0 <= self.strength <= 1:
            raise ValueError(f'strength must be between 0 and 1, got {self.strength}')
        if not 0 <= self.grain <= 50:
            raise ValueError(f'grain must be between 0 and 50, got {self.grain}')
        for name in ('jobs', 'height', 'width'):
            check_at_least_one(name, getattr(self, name))
        if self.fit is not None:
            parse_size(self.fit)
        if self.part is not None:
            check_part(self.part)

    @property
    def averages(self) -> bool:
        """Whether the results of held drawings are averaged."""
        if self.steady is not None:
            return self.steady
        return self.strength in (None, 1) and not keeps_grain(self.weights)

    def idle(self, output: Path) -> list[str]:
        """Names of the options that were given and mean nothing for this output."""
        if output.suffix.lower() in VIDEO_SUFFIXES:
            return []
        usual = UpscaleOptions()
        names = [('encode', f.name) for f in fields(EncodeOptions) if f.name != 'audio'] + [(None, 'fps')]
        if output.suffix.lower() in IMAGE_SUFFIXES:  # a single one
            names += [
                ('selection', 'start'),
                ('selection', 'end'),
                ('compute', 'reuse'),
                (None, 'jobs'),
                (None, 'part'),
                (None, 'cluster'),
                (None, 'cuts'),
            ]

        def value(options, group, name):
            return getattr(getattr(options, group) if group else options, name)

        return [name for group, name in names if value(self, group, name) != value(usual, group, name)]

    def pixels(self) -> dict:
        """{name: value} of the options that the output depends on, as JSON holds them."""
        values = {
            f.name: list(value) if isinstance(value := getattr(part, f.name), tuple) else value
            for part in (self, *(getattr(self, group) for group in GROUPS))
            for f in fields(part)
            if f.name not in (*GROUPS, 'weights') and f.metadata.get('pixels', True)
        }
        values['steady'] = self.averages  # what the default is depends on the name of the model
        return {name: str(value) if isinstance(value, Fraction) else value for name, value in values.items()}

    def with_compute(self, **changes: Any) -> UpscaleOptions:
        return replace(self, compute=replace(self.compute, **changes))

    def with_selection(self, **changes: Any) -> UpscaleOptions:
        return replace(self, selection=replace(self.selection, **changes))


GROUPS = dict(selection=SelectionOptions, encode=EncodeOptions, compute=ComputeOptions)


def option_names() -> list[str]:
    """The names of all options, as `UpscaleOptions.of` takes them."""
    return [
        f.name for kind in (UpscaleOptions, *GROUPS.values()) for f in fields(kind) if f.name not in GROUPS
    ]


def check_one_of(name: str, value: str | None, known: tuple) -> None:
    if value not in known:
        raise ValueError(f'{name} must be one of {", ".join(str(k) for k in known if k)}, got {value}')


def check_at_least_one(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f'{name} must be at least 1, got {value}')


def check_output_for(output: Path, info: MediaInfo, options: UpscaleOptions) -> None:
    """Whether an output can be written; see `check_output`."""
    encode = options.encode
    check_output(output, info, encode.codec, encode.depth, encode.chroma)


def encoding_for(info: MediaInfo, size: tuple[int, int], options: UpscaleOptions) -> Encoding:
    """How an output of (height, width) is encoded; see `choose_encoding`."""
    encode = options.encode
    return choose_encoding(
        encode.codec,
        info,
        size,
        encode.crf,
        encode.depth,
        encode.chroma,
        encode.hardware,
        encode.extra_options(),
        options.square_pixels,
    )


def size_for(
    info: MediaInfo, output: Path, options: UpscaleOptions, scale: int, codec: str
) -> tuple[int, int]:
    """(height, width) of the output.

    Raises:
        ValueError: the factor, or the size that was asked for, is out of range.
    """
    sizes = dict(outscale=options.outscale, height=options.height, width=options.width, fit=options.fit)
    asked = {name: value for name, value in sizes.items() if value is not None}
    if len(asked) > 1:
        raise ValueError(f'only one of {", ".join(asked)} can be given: each says how large the output is')
    wide = info.width  # with square pixels, if they are asked for
    if options.square_pixels and info.sample_aspect_ratio:
        wide = max(1, round(info.width * info.sample_aspect_ratio))
    if options.fit is not None:
        width, height = parse_size(options.fit)
        outscale = min(width / wide, height / info.height)
    elif options.height is not None or options.width is not None:
        outscale = options.height / info.height if options.width is None else options.width / wide
    else:
        outscale = scale if options.outscale is None else options.outscale
    if not 0 < outscale <= scale:
        name, value = next(iter(asked.items()))
        given = '' if name == 'outscale' else f', which is {outscale:.4g} times {wide}x{info.height}'
        raise ValueError(
            f'the output must be above 0 and at most {scale} times as large as the input, the scale of these'
            f' weights; got {name} {value}{given}'
        )
    even = output.suffix.lower() in VIDEO_SUFFIXES and codec != 'ffv1'
    return output_size(info.height, wide, outscale, even)


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) of '1920x1080'."""
    try:
        width, height = (int(side) for side in text.lower().split('x'))
        if min(width, height) < 1:
            raise ValueError
    except ValueError:
        raise ValueError(f"fit '{text}' is not a size; write e.g. 1920x1080") from None
    return width, height
