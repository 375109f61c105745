"""Ways to keep training clips: size on disk, and how fast a random window is read, on one thread.

    pip install webdataset litdata
    python benchmarks/storage.py [--rounds 9]

A window is 15 frames in order of three 1280x720 clips of forty frames (`degradation.py` makes them: animation
with a little film noise), cropped to 256x256, from a random clip, frame and place. A run can be resumed at
its exact window where windows are read by number, and do not come as a stream.
"""

import argparse
import io
import tempfile
import time
from pathlib import Path
from statistics import median

import av
import cv2
import litdata
import lmdb
import numpy as np
import webdataset
from degradation import CROP, FRAMES, make_clip

import animevsr
from animevsr.video.clips import load_clip
from animevsr.video.packed import PackedClip

CLIPS, LENGTH = 3, 40


def decode(data, crop):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1][crop]


def files_of(root):
    return [[root / f'{clip}/{i:08d}.png' for i in range(LENGTH)] for clip in range(CLIPS)]


def folders(root, place):
    files = files_of(root)
    return root, lambda clip, start, crop: [
        decode(file.read_bytes(), crop) for file in files[clip][start : start + FRAMES]
    ]


def packed(root, place):
    animevsr.pack_clips(root, place)
    clips = [PackedClip(place / f'{clip}.b2nd') for clip in range(CLIPS)]
    return place, lambda clip, start, crop: clips[clip].read(list(range(start, start + FRAMES)), crop)


def video(codec, **options):
    """Videos whose windows are sought; `g=1`: every frame is a key frame."""

    def make(root, place):
        place.mkdir()
        for clip, files in enumerate(files_of(root)):
            with av.open(str(place / f'{clip}.mkv'), 'w') as out:
                stream = out.add_stream(codec, rate=24, options={k: str(v) for k, v in options.items()})
                stream.width, stream.height = 1280, 720
                stream.pix_fmt = 'bgr0' if codec == 'ffv1' else 'rgb24'
                for file in files:
                    out.mux(stream.encode(av.VideoFrame.from_ndarray(cv2.imread(str(file)), 'bgr24')))
                out.mux(stream.encode())
        return place, lambda clip, start, crop: [
            frame[crop] for frame in load_clip(place / f'{clip}.mkv', list(range(start, start + FRAMES)))
        ]

    return make


def in_lmdb(root, place):
    """BasicSR's way: one PNG a key."""
    base = lmdb.open(str(place), map_size=1 << 32)
    with base.begin(write=True) as store:
        for clip, files in enumerate(files_of(root)):
            for i, file in enumerate(files):
                store.put(f'{clip}/{i:08d}'.encode(), file.read_bytes())
    base.close()
    base = lmdb.open(str(place), readonly=True, lock=False, readahead=False)

    def read(clip, start, crop):
        with base.begin() as store:
            return [decode(store.get(f'{clip}/{start + i:08d}'.encode()), crop) for i in range(FRAMES)]

    return place, read


def shards(root, place):
    """WebDataset: a sample is a clip, samples are a stream; the next one is what is read, whole."""
    place.mkdir()
    with webdataset.TarWriter(str(place / 'shard.tar')) as out:
        for clip, files in enumerate(files_of(root)):
            pngs = {f'{i:08d}.png': file.read_bytes() for i, file in enumerate(files)}
            out.write({'__key__': str(clip), **pngs})
    stream = iter(webdataset.WebDataset(str(place / 'shard.tar'), shardshuffle=False).repeat())

    def read(clip, start, crop):
        sample = next(stream)
        return [decode(sample[f'{start + i:08d}.png'], crop) for i in range(FRAMES)]

    return place, read


def chunks(root, place):
    """LitData: a sample is a clip, by number; of it all bytes are read."""
    place.mkdir()
    writer = litdata.streaming.writer.BinaryWriter(str(place), chunk_bytes=1 << 30)
    for clip, files in enumerate(files_of(root)):
        out = io.BytesIO()
        np.savez(out, *[np.frombuffer(file.read_bytes(), np.uint8) for file in files])
        writer.add_item(clip, out.getvalue())
    writer.done()
    writer.merge()
    data = litdata.StreamingDataset(str(place))

    def read(clip, start, crop):
        arrays = np.load(io.BytesIO(data[clip]))
        return [decode(arrays[f'arr_{start + i}'], crop) for i in range(FRAMES)]

    return place, read


WAYS = {
    'folders of PNG files': (folders, 'yes'),
    'packed (`animevsr pack`: Blosc2)': (packed, 'yes'),
    'FFV1, all key frames': (video('ffv1', g=1, level=3, slices=4), 'yes'),
    'H.264 lossless, a key frame every 8': (video('libx264rgb', crf=0, preset='fast', g=8, threads=1), 'yes'),
    'LMDB of PNG files': (in_lmdb, 'yes'),
    'WebDataset, a shard of PNG files': (shards, 'as a stream'),
    'LitData, a chunk of PNG files': (chunks, 'yes'),
}


def main(rounds):
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / 'png'
        for clip in range(CLIPS):
            make_clip(root / str(clip))
        readers, sizes, times = {}, {}, {name: [] for name in WAYS}
        for number, (name, (make, _)) in enumerate(WAYS.items()):
            where, readers[name] = make(root, Path(place) / str(number))
            sizes[name] = sum(file.stat().st_size for file in where.rglob('*') if file.is_file())
        for round_ in range(rounds + 1):
            rng = np.random.default_rng(round_)
            clip, start = int(rng.integers(CLIPS)), int(rng.integers(LENGTH - FRAMES))
            top, left = int(rng.integers(720 - CROP)), int(rng.integers(1280 - CROP))
            crop, windows = np.s_[top : top + CROP, left : left + CROP], []
            for name, read in readers.items():
                begin = time.perf_counter()
                windows.append(np.stack(list(read(clip, start, crop))))
                if round_:
                    times[name].append(time.perf_counter() - begin)
            for name, window in zip(readers, windows):
                if WAYS[name][1] == 'yes' and not np.array_equal(window, windows[0]):
                    raise SystemExit(f'{name}: read other pixels')
    print('| | MB | ms a window | resumed at a window |\n| --- | --- | --- | --- |')
    for name, (_, resumed) in WAYS.items():
        print(f'| {name} | {sizes[name] / 1e6:.0f} | {1000 * median(times[name]):.0f} | {resumed} |')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=9)
    main(parser.parse_args().rounds)
